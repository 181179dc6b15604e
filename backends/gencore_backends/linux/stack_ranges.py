"""Finds the memory that readers need to print every Python stack, and nothing more.

A reader walks from ``_PyRuntime`` (static, in the interpreter's data) through the interpreter and
thread states to the frames, and from each frame to its code object and that object's names; and
through the dynamic linker's list of loaded files. Layouts: ``Include/internal/pycore_frame.h`` of
CPython 3.11 to 3.15. The states of the interpreter and its threads are added by the clone: threads
end while this runs, and their states with them.
"""

import builtins
import ctypes
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Final

from gencore.process import current_frames
from gencore_backends.linux.link_map import linker_ranges

__all__ = ["stack_ranges"]

_POINTER: Final = ctypes.sizeof(ctypes.c_void_p)
_DICT_HEAD: Final = 64
_FRAME_HEAD: Final = 256
"""More than any version's _PyInterpreterFrame without its locals."""
_INTERNAL_FRAME: Final = object.__basicsize__ + _POINTER
"""Offset in a PyFrameObject of the pointer to its _PyInterpreterFrame: after head and f_back."""
_CODE_HEAD: Final = 160
"""Less than any version's PyCodeObject, and more than what comes before ``co_filename``."""

Range = tuple[int, int]


def stack_ranges() -> list[Range]:
    """Return the pieces of memory, as (start, end) in order of address. Called in the pause."""
    return sorted([*_dictionaries(), *_frames(), *linker_ranges()])


def _dictionaries() -> Iterator[Range]:
    """Yield the objects by which a reader recognizes the interpreter."""
    for dictionary in (sys.modules, vars(sys), vars(builtins)):
        yield id(dictionary), id(dictionary) + _DICT_HEAD


def _frames() -> Iterator[Range]:
    for top in current_frames().values():
        frame: FrameType | None = top
        while frame is not None:
            yield from _frame(frame)
            frame = frame.f_back


def _frame(frame: FrameType) -> Iterator[Range]:
    internal = ctypes.c_void_p.from_address(id(frame) + _INTERNAL_FRAME).value or id(frame)
    yield _object(frame)
    yield internal, internal + _FRAME_HEAD
    code = frame.f_code
    for part in (code, code.co_filename, code.co_name, code.co_qualname, code.co_linetable):
        yield _object(part)
    yield from _variable_names(code)


def _variable_names(code: CodeType) -> Iterator[Range]:
    """Yield the tuple of a code object's variable names, and the names in it.

    Python does not expose the tuple; it is two pointers before ``co_filename``
    (``Include/cpython/code.h``).
    """
    names = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
    head = ctypes.string_at(id(code), _CODE_HEAD)
    at = head.find(id(code.co_filename).to_bytes(_POINTER, sys.byteorder)) - 2 * _POINTER
    if at > 0:
        address = int.from_bytes(head[at : at + _POINTER], sys.byteorder)
        yield address, address + sys.getsizeof(names)
    for name in names:
        yield _object(name)


def _object(value: object) -> Range:
    return id(value), id(value) + sys.getsizeof(value)
