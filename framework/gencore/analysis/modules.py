"""Finds imported modules of a dumped Python."""

from collections.abc import Mapping
from typing import Final

from gencore.analysis.python import Python
from gencore.analysis.values import Values

__all__ = ["find_module"]

_LONGEST_NAME: Final = 100


def find_module(python: Python, values: Values, interpreter: int, name: str) -> Mapping[str, int]:
    """Return the attributes of an interpreter's module; none if it has not been imported.

    Raises `AbsentMemory`.
    """
    modules = python.memory.word(interpreter + python.layout.modules_of_interpreter)
    for key, module in values.items(modules):
        if key is not None and values.text(key, _LONGEST_NAME) == name:
            return values.attributes(module)
    return {}
