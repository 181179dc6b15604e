"""The handle of one dump: wait for it, await it, be called back, cancel it."""

import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from typing import Final

from gencore.backend import ThreadRecord
from gencore.report import Pause, Progress, Report

__all__ = ["Dump", "StopSwitch"]

_log: Final = logging.getLogger("gencore")


class StopSwitch:
    """Decides, once, whether a dump ends by publication or by being stopped."""

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._lock = threading.Lock()
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
            threading.Thread(target=self._tell, name="gencore-abort", daemon=True).start()
        except RuntimeError:  # no more threads
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


class Dump:
    """A dump whose pause is over. Made by `start`; safe to use from any thread."""

    def __init__(
        self,
        *,
        name: str,
        backend: str,
        pause: Pause,
        threads: Callable[[], tuple[ThreadRecord, ...]],
        stop: StopSwitch,
        progress: Callable[[], Progress],
        future: "Future[Report]",
    ) -> None:
        self.name = name
        self.backend = backend
        self.pause = pause
        self._threads = threads
        self._stop = stop
        self._progress = progress
        self._future = future

    @property
    def progress(self) -> Progress:
        """Where the dump is now. Cheap; made for being asked often."""
        return self._progress()

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, the calling one first."""
        return self._threads()

    def done(self) -> bool:
        """Return whether it has ended, in whatever way."""
        return self._future.done()

    def cancelled(self) -> bool:
        """Return whether it ended by `cancel`."""
        return self._future.cancelled()

    def result(self, timeout: float | None = None) -> Report:
        """Wait *timeout* seconds for the end, or for ever, and return the report.

        A dump that failed has a report too, with ``result == "failed"``. Raises `TimeoutError` if
        the dump goes on after *timeout* (it is not ended by that), and
        `concurrent.futures.CancelledError` after `cancel`.
        """
        return self._future.result(timeout)

    def add_done_callback(self, callback: Callable[["Dump"], object]) -> None:
        """Call *callback* with this dump once it has ended; at once if it has already.

        It runs in the dump's worker thread; its exceptions are logged.
        """
        self._future.add_done_callback(lambda _: self._call(callback))

    def _call(self, callback: Callable[["Dump"], object]) -> None:
        try:
            callback(self)
        except Exception:
            _log.exception("a callback of dump %s raised", self.name)

    def cancel(self) -> bool:
        """End the dump and remove all of it. Return False if it is too late for that.

        Does not wait: `result` raises `concurrent.futures.CancelledError` as soon as nothing is
        left of it.
        """
        if self.cancelled():
            return True
        return self._stop.stop(CancelledError()) and not self.done()

    def __await__(self) -> Generator[object, None, Report]:
        """Wait on the running loop. Cancelling the waiting task cancels the dump."""
        return self._wait().__await__()

    async def _wait(self) -> Report:
        import asyncio

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell(_: "Dump") -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        self.add_done_callback(tell)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self._future.result()

    def __repr__(self) -> str:
        return f"<Dump {self.name} {self.progress.stage}>"
