"""Reads what a dumped process knows of its threads: ``threading._active`` of CPython."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from gencore.analysis.inspection.modules import find_module
from gencore.analysis.inspection.scalars import read_int
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["thread_names", "threads_by_end"]

_MOST_THREADS: Final = 1 << 14
_HANDLES: Final = ("_handle", "_os_thread_handle")
"""Attributes: that of 3.13, and the later one."""
_HANDLE: Final = "_thread._ThreadHandle"
_IN_HANDLE, _EVENT_AT = 16, 57
"""In a ``_ThreadHandle`` the address of a ``ThreadHandle``, and in that ``thread_is_exiting``."""


def thread_names(python: Python) -> dict[int, str]:
    """Return the names by tid, as far as the core has them: without the heap, it has none."""
    values = Values(python)
    names: dict[int, str] = {}
    for interpreter in python.interpreters():
        with suppress(AbsentMemory):
            names |= dict(_named(python, values, _active(python, values, interpreter)))
    return names


def threads_by_end(python: Python) -> dict[int, int]:
    """Return the objects of threads by what is set free when these end.

    Up to 3.12 it is the Lock ``_tstate_lock``, then an event in what its handle leads to.
    """
    values = Values(python)
    found: dict[int, int] = {}
    for interpreter in python.interpreters():
        with suppress(AbsentMemory):
            active = _active(python, values, interpreter)
            for _, thread in values.items(active, _MOST_THREADS):
                if end := _end_of(python, values, thread):
                    found[end] = thread
    return found


def _end_of(python: Python, values: Values, thread: int) -> int | None:
    attributes = values.attributes(thread)
    for handle in filter(None, map(attributes.get, _HANDLES)):
        if values.type_name(handle) == _HANDLE:
            return python.memory.word(handle + _IN_HANDLE) + _EVENT_AT
    return attributes.get("_tstate_lock")


def _active(python: Python, values: Values, interpreter: int) -> int:
    """Return the address of the dictionary of an interpreter's threads. Raises `AbsentMemory`."""
    active = find_module(python, values, interpreter, "threading").get("_active")
    if active is None:
        raise AbsentMemory("threading._active is missing")
    return active


def _named(python: Python, values: Values, active: int) -> Iterator[tuple[int, str]]:
    for _, thread in values.items(active, _MOST_THREADS):
        with suppress(AbsentMemory, KeyError):
            attributes = values.attributes(thread)
            tid, name = attributes["_native_id"], attributes["_name"]
            if values.type_name(tid) == "int" and values.type_name(name) == "str":
                number = read_int(python, tid)
                if number is not None:
                    yield number, values.text(name)
