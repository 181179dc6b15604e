"""Delivers a dump's events to its listeners, on a thread of its own."""

import logging
import os
import time
from _queue import SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections.abc import Callable, Sequence
from typing import Final

from gencore._runtime.application_errors import reraise_if_applications
from gencore._runtime.foreign_errors import log_raised
from gencore._runtime.forked_child import end_if_forked
from gencore._runtime.os_thread import Lock, NoThread, OsThread
from gencore._runtime.return_values import refuse_awaitable
from gencore.events import (
    DumpFinished,
    Event,
    Listener,
    StageFinished,
    StageProgress,
    StageStarted,
)
from gencore.report import Progress

__all__ = ["PATIENCE", "Announcer"]

_log: Final = logging.getLogger("gencore")
PATIENCE: Final = 1.0
"""Seconds that a finished dump waits for all its listeners before its result is available."""


class Announcer:
    """The events of one dump, in order."""

    def __init__(self, dump: str, listeners: Sequence[Listener]) -> None:
        self.dump = dump
        self._listeners = listeners
        self._events: SimpleQueue[Callable[[], Event]] = SimpleQueue()
        self._lock = Lock()
        self._stage: str | None = None
        self._thread: OsThread | None = None
        self._owner = os.getpid()

    def start(self) -> None:
        """Begin to deliver. If no thread can be started, all events are delivered at the end."""
        try:
            self._thread = OsThread(self._deliver, "gencore-events")
        except NoThread:
            _log.warning("dump %s: no thread for its events, which are late", self.dump)

    def tell(self, event: StageStarted | StageFinished) -> None:
        """Announce the begin or the end of a stage."""
        with self._lock:
            self._stage = event.stage if isinstance(event, StageStarted) else None
            self._events.put(lambda: event)

    def tell_progress(self, progress: Callable[[], Progress]) -> None:
        """Announce how far the stage is, if one is going on. From any thread.

        *progress* is asked when the event is delivered: it may hang.
        """
        with self._lock:
            if (stage := self._stage) is not None:
                self._events.put(lambda: _progress_event(self.dump, stage, progress()))

    def finish(self, event: DumpFinished) -> None:
        """Announce the end of the dump."""
        self._events.put(lambda: event)
        if self._thread is None:
            self._deliver()

    def wait(self, until: float) -> None:
        """Let the listeners take everything, until that time of `time.monotonic` at most."""
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))

    def _deliver(self) -> None:
        event: Event | None = None
        while not isinstance(event, DumpFinished):
            event = self._events.get()()
            for listener in self._listeners:
                self._give(listener, event)

    def _give(self, listener: Listener, event: Event) -> None:
        try:
            refuse_awaitable(listener(event))
            end_if_forked(self._owner)
        except BaseException as raised:
            reraise_if_applications(raised)
            end_if_forked(self._owner)
            log_raised(raised, "dump %s: an event listener raised", self.dump)


def _progress_event(dump: str, stage: str, now: Progress) -> StageProgress:
    return StageProgress(dump=dump, stage=stage, done=now.done, total=now.total)
