"""Finds the arguments and local variables of a frame: fast ones, cells, and class bodies.

Sources: ``co_localsplusnames`` and ``co_localspluskinds`` of Objects/codeobject.c, and
``_PyInterpreterFrame`` of pycore_frame.h, since 3.14 pycore_interpframe_structs.h.
"""

from collections.abc import Iterator
from typing import Final, Literal

import attrs

from gencore.analysis.inspection.contents import Contents
from gencore.analysis.inspection.objects import SIZE_AT, read_bytes
from gencore.analysis.interpreter.python import Python

__all__ = ["Variable", "variables_of"]

_CELL, _FREE = 0x40, 0x80
"""``CO_FAST_CELL``, ``CO_FAST_FREE``."""
_OPTIMIZED, _MORE_ARGUMENTS = 1, (4, 8)
"""``CO_OPTIMIZED``; ``CO_VARARGS``, ``CO_VARKEYWORDS``: bits of ``co_flags``."""
_MOST_SLOTS: Final = 1 << 12
_MOST_NAMES: Final = 1 << 10
"""Of a class body."""

Kind = Literal["argument", "local", "cell", "free", "class"]


@attrs.frozen
class Variable:
    """A name that has a value in a frame."""

    name: str
    kind: Kind
    """``cell``: nested functions share it; ``free``: that of an outer one; ``class``: its body."""
    address: int
    """Of the value."""


def variables_of(python: Python, contents: Contents, frame: int) -> Iterator[Variable]:
    """Yield the variables of a Python function's frame that are set, in the function's order.

    Nothing of a module, whose names are its global ones. Raises `AbsentMemory`, perhaps after
    some of them.
    """
    code = python.reference(frame + python.layout.code_of_frame)
    yield from _in_slots(python, contents, frame, code)
    yield from _in_namespace(python, contents, frame, code)


def _in_slots(python: Python, contents: Contents, frame: int, code: int) -> Iterator[Variable]:
    memory, layout = python.memory, python.layout
    names = memory.word(code + layout.slot_names_of_code)
    kinds = read_bytes(memory, memory.word(code + layout.slot_kinds_of_code))[:_MOST_SLOTS]
    arguments = _arguments(python, code)
    for index, bits in enumerate(kinds[: memory.word(names + SIZE_AT)]):
        value = python.reference(frame + layout.locals_of_frame + 8 * index)
        if value and bits & (_CELL | _FREE) and contents.type_name(value) == "cell":
            value = memory.word(value + layout.content_of_cell)
        if value:
            name = contents.text(memory.word(names + layout.items_of_tuple + 8 * index))
            yield Variable(name, _kind(bits, index < arguments), value)


def _kind(bits: int, is_argument: bool) -> Kind:  # noqa: FBT001 - private
    if is_argument:
        return "argument"
    if bits & _FREE:
        return "free"
    return "cell" if bits & _CELL else "local"


def _arguments(python: Python, code: int) -> int:
    """Return how many of a function's variables are arguments: the first ones."""
    number, layout = python.memory.number, python.layout
    flags = number(code + layout.flags_of_code, 4)
    named = number(code + layout.arguments_of_code, 4)
    keywords = number(code + layout.keyword_arguments_of_code, 4)
    return named + keywords + sum(bool(flags & bit) for bit in _MORE_ARGUMENTS)


def _in_namespace(python: Python, contents: Contents, frame: int, code: int) -> Iterator[Variable]:
    """Yield what a class body has defined; a function's own dictionary is a copy."""
    memory, layout = python.memory, python.layout
    names = memory.word(frame + layout.namespace_of_frame)
    flags = memory.number(code + layout.flags_of_code, 4)
    if not names or flags & _OPTIMIZED or names == memory.word(frame + layout.globals_of_frame):
        return
    for key, value in contents.items(names, _MOST_NAMES):
        if key is not None and contents.type_name(key) == "str":
            yield Variable(contents.text(key), "class", value)
