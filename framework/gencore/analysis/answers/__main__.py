"""Answers one question about a core as JSON on stdout; a failure is a line on stderr.

The arguments are the core, its sysroot, the question, which is the name of a module beside this
one, and what that module's `answer` takes.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from gencore.analysis import Memory, find_python
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


def main(path: str, libraries: str, question: str, *arguments: str) -> None:
    """Print the answer to *question*. Raises `IntegrityError`."""
    answer = import_module(f"gencore.analysis.answers.{question}").answer
    with CoreFile(path) as core:
        python = find_python(Memory.of_core(core, Path(path), Path(libraries)), core)
        json.dump(answer(python, core, *arguments), sys.stdout)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except IntegrityError as error:
        sys.exit(error.message)
