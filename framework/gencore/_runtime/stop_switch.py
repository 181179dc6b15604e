"""Decides once how a dump ends: by publication, or by being stopped."""

import math
import time
from collections.abc import Callable

from gencore._runtime.foreign_errors import log_raised
from gencore._runtime.os_thread import Lock, NoThread, OsThread

__all__ = ["StopSwitch"]


class StopSwitch:
    """Decides, once, whether a dump ends by publication or by being stopped."""

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._lock = Lock()
        self._committed = False
        self.reason: Exception | None = None
        self.stopped_at = math.inf
        """When it was stopped, by `time.monotonic`."""

    def stop(self, reason: Exception) -> bool:
        """Stop the dump with *reason*. Return False if it is too late for that."""
        with self._lock:
            if self._committed:
                return False
            first = self.reason is None
            if first:
                self.reason, self.stopped_at = reason, time.monotonic()
        if first:
            self._start_abort()
        return True

    def begin_stop(self, reason: Exception) -> None:
        """Stop the dump unless it is too late."""
        self.stop(reason)

    def _start_abort(self) -> None:
        """Abort the backend on a thread of its own: the caller does not wait for that."""
        try:
            OsThread(self._abort_backend, "gencore-abort")
        except NoThread:
            self._abort_backend()

    def _abort_backend(self) -> None:
        try:
            self._abort()
        except Exception as raised:
            log_raised(raised, "the backend raised while it aborted a dump")

    def check(self) -> None:
        """Raise the reason if the dump was stopped."""
        if self.reason is not None:
            raise self.reason

    def commit(self) -> None:
        """Make it too late to stop. Raises the reason if the dump was stopped before."""
        with self._lock:
            self.check()
            self._committed = True
