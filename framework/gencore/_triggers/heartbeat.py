"""A thread that needs the GIL once a second, by which the agent sees whether it can be had.

Runs only while a trigger on it is set. The agent counts the time for which a beat is overdue.
"""

import atexit
import os
import sys
from typing import TYPE_CHECKING, Final

from gencore._runtime.os_thread import Latch, NoThread, OsThread, settle

if TYPE_CHECKING:
    from gencore.arming import Agent

__all__ = ["PERIOD", "keep"]

PERIOD: Final = 1.0
"""Seconds between two beats."""
_GIL: Final = 0
"""The number of its beat."""
_WARNS_OF_THREADS: Final = sys.version_info >= (3, 12)
"""Whether os.fork() counts the threads of the process, and warns if there are several."""
_hearts: "Final[list[_Heart]]" = []
"""The one of this process, or none."""
_hooked: Final[list[bool]] = []


class _Heart:
    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self.begin()

    def begin(self) -> None:
        """Start its thread, which has to get the GIL for its first beat already.

        Without a thread nothing is waited for.
        """
        self._end = Latch()
        self._agent.beat(_GIL, PERIOD)
        try:
            self._thread: OsThread | None = OsThread(self._beat, "gencore-beat")
        except NoThread:
            self._thread = None
            self._suspend()

    def _beat(self) -> None:
        end = self._end
        while not end.is_open:
            self._agent.beat(_GIL, PERIOD)
            end.wait(PERIOD)
        self._suspend()

    def _suspend(self) -> None:
        self._agent.suspend_beat(_GIL, False)  # noqa: FBT003 - native functions take no keywords

    def end(self) -> None:
        """End its thread, and wait until the kernel does not count it any more."""
        self._end.open()
        if self._thread is not None:
            self._thread.join()
            settle()


def keep(agent: "Agent", *, wanted: bool) -> None:
    """Start the thread, or end it."""
    if wanted and not _hearts:
        _hook(agent)
        _hearts.append(_Heart(agent))
    elif not wanted:
        _end()


def _end() -> None:
    for heart in _hearts[:]:
        heart.end()
    _hearts.clear()


def _hook(agent: "Agent") -> None:
    """Follow forks and exit, once in a process."""
    if _hooked:
        return
    _hooked.append(True)
    atexit.register(_end)
    os.register_at_fork(after_in_child=_begin_again)
    if _WARNS_OF_THREADS:
        agent.call_after_fork_in_parent(_begin_again)
        os.register_at_fork(before=_pause)


def _pause() -> None:
    for heart in _hearts:
        heart.end()


def _begin_again() -> None:
    for heart in _hearts:
        heart.begin()
