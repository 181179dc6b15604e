"""The memory that readers need to print every Python stack, and nothing more.

A reader walks from ``_PyRuntime`` (static, in the interpreter's data) through the interpreter and
thread states to the frames, and from each frame to its code object and that object's names; and
through the dynamic linker's list of loaded files. Layouts: ``Include/cpython/pystate.h``,
``Include/internal/pycore_frame.h`` of CPython 3.11 to 3.13; ``struct link_map`` of ``link.h``.
"""

import builtins
import ctypes
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Final

__all__ = ["stack_ranges"]

_POINTER: Final = ctypes.sizeof(ctypes.c_void_p)
_THREAD_STATE_SIZE: Final = 4096
"""More than any version's PyThreadState."""
_INTERPRETER_STATE_SIZE: Final = 512 * 1024
_DICT_HEAD: Final = 64
_FRAME_HEAD: Final = 256
"""More than any version's _PyInterpreterFrame without its locals."""
_INTERNAL_FRAME: Final = 3 * _POINTER
"""Where a PyFrameObject points to its _PyInterpreterFrame: behind its head and f_back."""
_CODE_HEAD: Final = 160
"""Less than any version's PyCodeObject, and more than what comes before ``co_filename``."""
_LINK_MAP: Final = 5 * _POINTER

Range = tuple[int, int]


def stack_ranges() -> list[Range]:
    """Return the pieces of memory, as (start, end) in order of address. Called in the pause."""
    ranges = [*_states(), *_frames(), *_link_maps()]
    return sorted(ranges)


def _states() -> Iterator[Range]:
    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = ctypes.c_void_p
    api.PyInterpreterState_ThreadHead.restype = ctypes.c_void_p
    api.PyInterpreterState_ThreadHead.argtypes = [ctypes.c_void_p]
    api.PyThreadState_Next.restype = ctypes.c_void_p
    api.PyThreadState_Next.argtypes = [ctypes.c_void_p]
    interpreter = api.PyInterpreterState_Get()
    yield interpreter, interpreter + _INTERPRETER_STATE_SIZE
    for dictionary in (sys.modules, vars(sys), vars(builtins)):  # by them a reader recognizes it
        yield id(dictionary), id(dictionary) + _DICT_HEAD
    state = api.PyInterpreterState_ThreadHead(interpreter)
    while state:
        yield state, state + _THREAD_STATE_SIZE
        state = api.PyThreadState_Next(state)


def _frames() -> Iterator[Range]:
    for top in sys._current_frames().values():  # noqa: SLF001 - the documented way
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
    """Yield the tuple that counts a code object's variables, and the names in it.

    Python does not show the tuple; it is two pointers before ``co_filename``
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


def _link_maps() -> Iterator[Range]:
    """Walk from _r_debug, where the dynamic linker tells debuggers what is loaded."""
    try:
        debug = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "_r_debug")
    except (OSError, ValueError):  # a static interpreter, or musl
        return
    link_map = ctypes.c_void_p.from_address(ctypes.addressof(debug) + _POINTER).value
    while link_map:
        yield link_map, link_map + _LINK_MAP
        name = ctypes.c_void_p.from_address(link_map + _POINTER).value
        if name:
            yield name, name + len(ctypes.string_at(name)) + 1
        link_map = ctypes.c_void_p.from_address(link_map + 3 * _POINTER).value
