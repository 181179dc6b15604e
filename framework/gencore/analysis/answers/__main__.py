"""Answers one question about a core as JSON on stdout; a failure is a line on stderr.

With the answer comes why it may lack something, if it may. The arguments are the core, its
sysroot, the question, which is the name of a module beside this one, and what that module's
`answer` takes.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from gencore.analysis import Memory, Python, find_python
from gencore.analysis.allocation import reuse_memory
from gencore.analysis.interpreter.completeness import why_incomplete
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


def main(path: str, libraries: str, question: str, *arguments: str) -> None:
    """Print the answer to *question*. Raises `IntegrityError`."""
    reuse_memory()
    answer = import_module(f"gencore.analysis.answers.{question}").answer
    with CoreFile(path) as core:
        python = _find_python(core, Path(path), Path(libraries))
        incomplete = why_incomplete(python, core)
        shown = {"answer": answer(python, core, *arguments), "incomplete": incomplete}
        json.dump(shown, sys.stdout)


def _find_python(core: CoreFile, path: Path, libraries: Path) -> Python:
    """Return the Python in a core. Raises `IntegrityError`, and says if the core is truncated."""
    try:
        return find_python(Memory.of_core(core, path, libraries), core)
    except IntegrityError as error:
        if core.truncation is None:
            raise
        raise IntegrityError(f"{error.message}; the core is {core.truncation}") from error


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except IntegrityError as error:
        sys.exit(error.message)
