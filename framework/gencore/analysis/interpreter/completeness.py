"""Says whether a core lacks memory that it should have: then what is not found may be missing."""

from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.corefile import CoreFile

__all__ = ["why_incomplete"]


def why_incomplete(python: Python, core: CoreFile) -> str | None:
    """Return why nothing can be concluded from what is not found; None if it can."""
    if core.truncation is not None:
        return f"the core is {core.truncation}"
    try:
        found = python.count_threads()
    except AbsentMemory as error:
        return f"the list of threads breaks off: {error.message}"
    return None if found else "the list of threads is empty"
