"""Reads the versions of the packages that a dumped Python had imported: their ``__version__``."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from gencore.analysis.inspection.attributes import dictionary_of
from gencore.analysis.inspection.contents import Contents
from gencore.analysis.inspection.modules import modules_of
from gencore.analysis.inspection.objects import find_in_dict
from gencore.analysis.inspection.origins import origin_of
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["read_packages"]

_MOST_PACKAGES: Final = 1 << 10
_LONGEST: Final = 100
"""Characters of a version, and of what a file's place is told by."""


def read_packages(python: Python) -> dict[str, str]:
    """Return the version of each top-level package by its name, in order of names.

    Those without a version, and the standard library's, are left out. Raises `AbsentMemory` if
    ``sys.modules`` is missing.
    """
    contents = Contents(python)
    found: dict[str, str] = {}
    for interpreter in python.interpreters():
        for name, module in modules_of(python, contents, interpreter):
            with suppress(AbsentMemory):
                found.update(_version(python, contents, name, module))
            if len(found) >= _MOST_PACKAGES:
                break
    return dict(sorted(found.items()))


def _version(
    python: Python, contents: Contents, name: str, module: int
) -> Iterator[tuple[str, str]]:
    """Yield the name and version of a module if it has both."""
    facts = contents.type_of(module)
    if not name or "." in name or "module" not in facts.lineage:
        return
    namespace = dictionary_of(python, facts, module)
    version, file = (
        _text(contents, find_in_dict(python.memory, python.layout, namespace, wanted))
        for wanted in ("__version__", "__file__")
    )
    if version and origin_of(file) in {"application", "package", "gencore"}:
        yield name, version


def _text(contents: Contents, thing: int | None) -> str:
    """Return a str; nothing if it is none."""
    if not thing or "str" not in contents.type_of(thing).lineage:
        return ""
    return contents.text(thing, _LONGEST)
