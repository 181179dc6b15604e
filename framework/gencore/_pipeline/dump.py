"""The handle of one dump: wait for it, await it, add callbacks, cancel it."""

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from typing import Protocol

from gencore._runtime.application_errors import reraise_if_applications
from gencore._runtime.foreign_errors import log_raised
from gencore._runtime.os_thread import Latch, Lock
from gencore.errors import Refused
from gencore.process import ThreadRecord
from gencore.report import Pause, Progress, Report

__all__ = ["Dump", "Ending"]


class Ending:
    """How a dump ends: unknown at first, then a report or an error, once.

    Not `concurrent.futures.Future`, whose locks are gevent's in a process that gevent has patched.
    """

    def __init__(self) -> None:
        self._known = Latch()
        self._lock = Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._report: Report | None = None
        self.error: BaseException | None = None

    @property
    def known(self) -> bool:
        """Whether it has ended."""
        return self._known.is_open

    def set(self, report: Report | None, error: BaseException | None) -> None:
        """Make it known, and run the callbacks."""
        with self._lock:
            self._report, self.error = report, error
            self._known.open()
        for callback in self._callbacks:
            callback()

    def disown(self) -> None:
        """Make it known in a forked child that the dump belongs to the parent."""
        if not self.known:
            self.error = Refused(
                "the dump belongs to the process that this one was forked from",
                remedy="wait for it there, or start another dump here",
            )
            self._known, self._lock, self._callbacks = Latch(), Lock(), []
            self._known.open()

    def result(self, timeout: float | None) -> Report:
        """Wait for it. Raises the error, or `TimeoutError`."""
        if not self._known.wait_as_application(timeout):
            raise TimeoutError
        if self._report is None:
            raise self.error or RuntimeError("a dump ended without a report")
        return self._report

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Call *callback* once it is known, or at once."""
        with self._lock:
            if not self.known:
                self._callbacks.append(callback)
                return
        callback()


class Stop(Protocol):
    """What can end a dump early."""

    def stop(self, reason: Exception) -> bool:
        """Stop it with *reason*. Return False if it is too late for that."""

    def begin_stop(self, reason: Exception) -> None:
        """Stop it unless it is too late, and wait for no answer."""


class Dump:
    """A dump whose pause is over. Returned by `start`; safe to use from any thread."""

    def __init__(
        self,
        *,
        name: str,
        backend: str,
        pause: Callable[[], Pause],
        threads: Callable[[], tuple[ThreadRecord, ...]],
        stop: Stop,
        progress: Callable[[], Progress],
        ending: Ending,
    ) -> None:
        self.name = name
        self.backend = backend
        self._pause = pause
        self._threads = threads
        self._stop = stop
        self._progress = progress
        self._ending = ending

    @property
    def pause(self) -> Pause:
        """How long the process stood still."""
        return self._pause()

    @property
    def progress(self) -> Progress:
        """The current progress. Cheap: meant to be polled."""
        return self._progress()

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, the calling one first."""
        return self._threads()

    def done(self) -> bool:
        """Return whether it has ended, successfully or not."""
        return self._ending.known

    def cancelled(self) -> bool:
        """Return whether it ended by `cancel`."""
        return isinstance(self._ending.error, CancelledError)

    def result(self, timeout: float | None = None) -> Report:
        """Wait *timeout* seconds for the end, or indefinitely, and return the report.

        A failed dump has a report too, with ``result == "failed"``. Raises `TimeoutError` if the
        dump is still running after *timeout* (it then continues), and
        `concurrent.futures.CancelledError` after `cancel`. Under gevent and eventlet other
        greenlets run meanwhile.
        """
        return self._ending.result(timeout)

    def add_done_callback(self, callback: Callable[["Dump"], object]) -> None:
        """Call *callback* with this dump once it has ended; at once if it has already.

        It runs in the dump's worker thread; its exceptions are logged.
        """
        self._ending.add_callback(lambda: self._call(callback))

    def _call(self, callback: Callable[["Dump"], object]) -> None:
        try:
            callback(self)
        except BaseException as error:
            reraise_if_applications(error)
            log_raised(error, "dump %s: a done callback raised", self.name)

    def cancel(self) -> bool:
        """Cancel the dump and remove everything it made. Return False if it is too late for that.

        `result` raises `concurrent.futures.CancelledError` once everything is removed. Waits for
        no more than the answer of the recorder, some seconds at most; a recorder that is stopped
        and does not answer is killed, and what it leaves is removed by the next dump.
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

        def wake(_: "Dump") -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        self.add_done_callback(wake)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            self._stop.begin_stop(CancelledError())  # an answer would take the loop's time
            raise
        return self._ending.result(None)

    def __repr__(self) -> str:
        return f"<Dump {self.name} {self.progress.stage}>"
