"""Finds imported modules of a dumped Python: what ``sys.modules`` has."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from gencore.analysis.inspection.contents import Contents
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["find_module", "modules_of"]

_MOST_MODULES: Final = 1 << 16
_LONGEST_NAME: Final = 200


def modules_of(python: Python, contents: Contents, interpreter: int) -> Iterator[tuple[str, int]]:
    """Yield what an interpreter has imported: names, and the addresses of what has them.

    That may be no module. Names that are missing are left out. Raises `AbsentMemory` if
    ``sys.modules`` is missing.
    """
    modules = python.memory.word(interpreter + python.layout.modules_of_interpreter)
    for name, module in contents.items(modules, _MOST_MODULES):
        with suppress(AbsentMemory):
            if name is not None and "str" in contents.type_of(name).lineage:
                yield contents.text(name, _LONGEST_NAME), module


def find_module(
    python: Python, contents: Contents, interpreter: int, name: str
) -> Mapping[str, int]:
    """Return the attributes of an interpreter's module; none if it has not been imported.

    Raises `AbsentMemory`.
    """
    for known, module in modules_of(python, contents, interpreter):
        if known == name:
            return contents.attributes(module)
    return {}
