"""The dumps that go on in this process: its end waits for them, and a forked child has none."""

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final

from gencore._os_thread import Latch, get_ident
from gencore.errors import Refused

__all__ = ["Stay", "is_ending"]

_stays: "Final[dict[int, weakref.ref[Stay]]]" = {}
"""Without a lock: each use is one step of the interpreter."""
_main_ended = Latch()
"""Open once the main thread has run its course. Python 3.12 starts no thread from there on."""
_closed_by: list[int] = []
"""The thread that waited for the last dumps, and may still make one itself."""
_GLANCE: Final = 0.1


class Stay:
    """One dump's stay in this process, from before it leaves any trace until all is done.

    Raises `Refused` where the process has waited for its last dump already.
    """

    def __init__(self) -> None:
        self._in_child: list[Callable[[], object]] = []
        self._ended = Latch()
        _stays[id(self)] = weakref.ref(self)
        if _closed_by and get_ident() not in _closed_by:
            self.end()
            raise Refused("the interpreter is shutting down")

    def in_child(self, function: Callable[[], object]) -> None:
        """Call *function* in a process that is forked meanwhile: the dump is none of its."""
        self._in_child.append(function)

    def end(self) -> None:
        """End it. May be called again."""
        _stays.pop(id(self), None)
        self._ended.open()

    def __del__(self) -> None:
        """End it where nobody could: Ctrl-C may come before it is anybody's."""
        if "_ended" in vars(self):
            self.end()

    def wait(self) -> None:
        """Wait for its end, a moment at most."""
        self._ended.wait(_GLANCE)

    def disown(self) -> None:
        """Let go of the dump in a forked child."""
        for function in self._in_child:
            function()


def is_ending() -> bool:
    """Return whether the main thread has ended, so that new threads may be refused."""
    return _main_ended.is_open


def is_closed() -> bool:
    """Return whether nobody waits for dumps any more: one is to be done when `start` returns."""
    return bool(_closed_by)


def _wait_for_all() -> None:
    for reference in list(_stays.values()):
        while (stay := reference()) is not None and id(stay) in _stays:
            stay.wait()
            del stay


def _when_main_has_ended() -> None:
    """Finish what goes on. Others may begin more: the program's other threads may go on for long."""
    _main_ended.open()
    _wait_for_all()


def _at_exit() -> None:
    """Finish all, and rule out more, but for what exit functions that come later ask for."""
    _closed_by.append(get_ident())
    _wait_for_all()


def _in_child() -> None:
    stays = [reference() for reference in _stays.values()]
    _stays.clear()
    for stay in stays:
        if stay is not None:
            stay.disown()


# Both: a process of multiprocessing ends without the functions of atexit before Python 3.13, and
# in others threads that are no daemons make dumps after the main thread's end.
threading._register_atexit(_when_main_has_ended)  # type: ignore[attr-defined]  # noqa: SLF001 - as concurrent.futures does
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
