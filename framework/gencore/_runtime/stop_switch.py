"""Decides once how a dump ends: by publication, or by being stopped."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from gencore._runtime.os_thread import Lock, NoThread, OsThread

__all__ = ["StopSwitch"]

_log: Final = logging.getLogger("gencore")


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
        """Stop the dump for *reason*. Return whether it will end so; False if it is too late."""
        with self._lock:
            if self._committed:
                return False
            first = self.reason is None
            if first:
                self.reason, self.stopped_at = reason, time.monotonic()
        if first:
            self._start_abort()
        return True

    def _start_abort(self) -> None:
        """Tell the backend, on a thread of its own: whoever stops a dump does not wait for it."""
        try:
            OsThread(self._tell, "gencore-abort")
        except NoThread:
            self._tell()

    def _tell(self) -> None:
        try:
            self._abort()
        except Exception:
            _log.exception("the backend raised when it was told to end a dump")

    def check(self) -> None:
        """Raise the reason if the dump was stopped."""
        if self.reason is not None:
            raise self.reason

    def commit(self) -> None:
        """Rule out being stopped from now on. Raises the reason if it was stopped before."""
        with self._lock:
            self.check()
            self._committed = True
