"""The target's view of its recorder at work: what it reports, and that it may die."""

import select
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, Final

import attrs

from gencore._listeners.announcer import PATIENCE, Announcer
from gencore._pipeline.dump import Dump, Ending
from gencore._recorder.channel import Channel, Message
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.lifetime import Stay
from gencore._runtime.os_thread import Latch, NoThread, OsThread, get_ident, leave
from gencore._runtime.os_thread import wait_for_descriptors as wait
from gencore.arming import Capture
from gencore.errors import GencoreError
from gencore.events import DumpFinished, Event, StageFinished, StageProgress, StageStarted
from gencore.report import Failed, Pause, Progress, Report

__all__ = ["RecorderProcess", "Recording", "foreign_error"]

_DIED: Final = "the recorder ended before the dump was complete: it was killed, or out of memory"
_ANSWER_LIMIT: Final = 5.0
"""Seconds for a recorder to answer that it cancels a dump."""


@attrs.frozen
class RecorderProcess:
    """A running recorder."""

    channel: Channel
    pidfd: int

    def receive(self, timeout: float | None = None) -> Message | None:
        """Wait for a message; None if it has died or *timeout* seconds are over."""
        fd = self.channel.fileno()
        ready = wait({fd: select.POLLIN, self.pidfd: select.POLLIN}, timeout)
        if fd not in ready:  # but it may have sent something after the look at fd, and then ended
            ready = wait({fd: select.POLLIN}, 0)
        if not ready.get(fd, 0) & select.POLLIN:
            return None
        try:
            return self.channel.receive()
        except OSError as error:
            reraise_if_from_handler(error)
            return None


class _Answer:
    """Whether a dump is cancelled, once the recorder has said so."""

    def __init__(self) -> None:
        self._known = Latch()
        self._value = False

    def give(self, *, cancelled: bool) -> None:
        """Make it known, unless it is."""
        if not self._known.is_open:
            self._value = cancelled
            self._known.open()

    def wait(self) -> bool:
        """Wait for it, some seconds at most."""
        return self._known.wait_as_application(_ANSWER_LIMIT) and self._value


@attrs.define(kw_only=True, eq=False)
class Recording:
    """One dump that a recorder makes. Used once."""

    recorder: RecorderProcess
    capture: Capture
    name: str
    id: str
    backend: str
    call_seconds: float
    stay: Stay
    announcers: Sequence[Announcer]
    release: Callable[[], None]
    """Closes what belongs to the recorder."""
    _ending: Ending = attrs.field(factory=Ending, init=False)
    _progress: Progress = attrs.field(factory=lambda: Progress("core"), init=False)
    _answer: _Answer = attrs.field(factory=_Answer, init=False)
    _thread: int | None = attrs.field(default=None, init=False)
    begun: bool = attrs.field(default=False, init=False)
    """Whether it ends by itself."""

    @property
    def pause(self) -> Pause:
        """As the native part has measured it."""
        return Pause(total=sum(self.capture.phases.values()), phases=self.capture.phases)

    def start(self) -> Dump:
        """Follow it, on a thread of its own or, where none can be started, to its end."""
        self.stay.in_child(self._ending.disown)
        self.stay.in_child(self.capture.close)
        self.stay.in_child(self.release)
        handle = Dump(
            name=self.name,
            backend=self.backend,
            pause=self.pause,
            threads=lambda: self.capture.threads,
            stop=self,
            progress=lambda: self._progress,
            ending=self._ending,
        )
        self.begun = True
        try:
            OsThread(self._follow, "gencore-dump")
        except NoThread:
            self._follow()
        return handle

    def stop(self, reason: Exception) -> bool:  # noqa: ARG002 - always the same
        """Ask the recorder to cancel. Return False if it is too late for that."""
        if self._thread == get_ident():  # who asks would have to take the answer
            return False
        try:
            self.recorder.channel.send("cancel")
        except OSError as error:
            reraise_if_from_handler(error)
            return False
        return self._answer.wait()

    def _follow(self) -> None:
        self._thread = get_ident()
        report: Report | None = None
        error: BaseException | None = None
        try:
            for announcer in self.announcers:
                announcer.start()
            for message in self._messages():
                match message.kind:
                    case "event":
                        self._announce(message.value)
                    case "cancelling":
                        self._answer.give(cancelled=message.value)
                    case "report":
                        report = attrs.evolve(message.value, call_seconds=self.call_seconds)
                        break
                    case "error":
                        report, error = self._failed(message.value)
                        break
                    case "unable":
                        report, error = self._failed(GencoreError(message.value))
                        break
            else:
                report, error = self._failed(GencoreError(_DIED))
        except BaseException as raised:
            error = raised
        self._finish(report, error)

    def _messages(self) -> Iterator[Message]:
        while (message := self.recorder.receive()) is not None:
            yield message

    def _failed(self, error: BaseException) -> tuple[Report | None, BaseException | None]:
        """Return the report of a dump that the recorder could not make."""
        if isinstance(error, CancelledError) or not isinstance(error, Exception):
            return None, error
        failed = Report(
            result="failed",
            name=self.name,
            id=self.id,
            backend=self.backend,
            pause=self.pause,
            threads=self.capture.threads,
            failed=(Failed("recorder", error),),
            recorder="process",
            call_seconds=self.call_seconds,
        )
        return failed, None

    def _announce(self, event: Event) -> None:
        match event:
            case StageStarted() | StageFinished():
                if isinstance(event, StageStarted):
                    self._progress = attrs.evolve(self._progress, stage=event.stage)
                for announcer in self.announcers:
                    announcer.tell(event)
            case StageProgress():
                now = Progress(event.stage, event.done, event.total)
                self._progress = now
                for announcer in self.announcers:
                    announcer.tell_progress(lambda: now)

    def _finish(self, report: Report | None, error: BaseException | None) -> None:
        finished = DumpFinished(dump=self.name, report=report, error=error)
        try:
            self.capture.close()
            self.release()
            for announcer in self.announcers:
                announcer.finish(finished)
            until = time.monotonic() + PATIENCE
            for announcer in self.announcers:
                announcer.wait(until)
        finally:
            leave()
            self._progress = attrs.evolve(self._progress, stage="done")
            self._answer.give(cancelled=False)
            self._ending.set(report, error)
            self.stay.end()


def foreign_error(name: str, text: str) -> Exception:
    """Return an exception of a class of that name, which the target may not have."""
    made: Any = type(name, (Exception,), {"__module__": "gencore"})
    return made(text)  # type: ignore[no-any-return]  # it is one
