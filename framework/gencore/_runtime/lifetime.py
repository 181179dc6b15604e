"""The running dumps of this process: its exit waits for them, and a forked child has none."""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final

from gencore._runtime.interpreter_exit import ended_by, last_functions
from gencore._runtime.os_thread import Latch, get_native_id
from gencore.errors import Refused

__all__ = ["Stay", "is_closed"]

_stays: "Final[dict[int, weakref.ref[Stay]]]" = {}
"""Without a lock: each use is one step of the interpreter."""
_GLANCE: Final = 0.1


class Stay:
    """One dump's stay in this process, from before it leaves any trace until it is done.

    Raises `Refused` if the process has already waited for its last dump.
    """

    def __init__(self) -> None:
        self._in_child: list[Callable[[], object]] = []
        self._ended = Latch()
        _stays[id(self)] = weakref.ref(self)
        if ended_by and get_native_id() not in ended_by:  # exit functions may still ask for one
            self.end()
            raise Refused("the interpreter is shutting down")

    def in_child(self, function: Callable[[], object]) -> None:
        """Call *function* in every process forked meanwhile: the dump is not theirs."""
        self._in_child.append(function)

    def end(self) -> None:
        """End it. May be called again."""
        _stays.pop(id(self), None)
        self._ended.open()

    def __del__(self) -> None:
        """End it if nothing else could: Ctrl-C may arrive before it has an owner."""
        if "_ended" in vars(self):
            self.end()

    def wait(self) -> None:
        """Wait for its end, a moment at most."""
        self._ended.wait(_GLANCE)

    def disown(self) -> None:
        """Disown the dump in a forked child."""
        for function in self._in_child:
            function()


def is_closed() -> bool:
    """Return whether exit no longer waits for dumps, which must then finish within `start`."""
    return bool(ended_by)


def _wait_for_all() -> None:
    for reference in list(_stays.values()):
        while (stay := reference()) is not None and id(stay) in _stays:
            stay.wait()
            del stay


def _in_child() -> None:
    stays = [reference() for reference in _stays.values()]
    _stays.clear()
    for stay in stays:
        if stay is not None:
            stay.disown()


last_functions.append(_wait_for_all)
# Beside atexit, because a process of multiprocessing ends without that before Python 3.13.
with contextlib.suppress(RuntimeError):  # the main thread has ended already
    threading._register_atexit(_wait_for_all)  # type: ignore[attr-defined]  # noqa: SLF001 - as concurrent.futures does
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
