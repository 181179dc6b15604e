"""The target's view of its recorder at work: what it reports, and that it may die."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, Final

import attrs

from gencore._listeners.announcer import PATIENCE, Announcer
from gencore._pipeline.dump import Dump, Ending
from gencore._recorder.channel import Message
from gencore._recorder.new_recorder import NewRecorder
from gencore._recorder.standby import Standby
from gencore._runtime.application_errors import ignored
from gencore._runtime.lifetime import Stay
from gencore._runtime.os_thread import Latch, NoThread, OsThread, get_ident, leave
from gencore.arming import Capture
from gencore.errors import GencoreError, TimedOut
from gencore.events import DumpFinished, Event, StageFinished, StageProgress, StageStarted
from gencore.report import Failed, Pause, Progress, Report

__all__ = ["Recording", "foreign_error"]

_DIED: Final = "the recorder ended before the dump was complete: it was killed, or out of memory"
_NOT_READY: Final = (
    "the recorder was not ready in time: it, or the clone that starts it, stands still"
)
_NOT_STARTED: Final = "the clone ended before it had started the recorder: it was killed"
_ANSWER_LIMIT: Final = 5.0
"""Seconds for a recorder to answer that it cancels a dump."""
_GRACE: Final = 30.0
"""Seconds for a recorder to end a dump that is to be ended. Its own limits for what hangs in it
are shorter, but none holds in a process that is stopped (SIGSTOP)."""
_PATIENCE: Final = 600.0
"""Seconds for a recorder that a clone starts to be ready: as long as the clone waits for it."""
_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what a recorder has left of them."""


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
        """Wait for it, some seconds at most: who does not answer by then will not publish."""
        return not self._known.wait_as_application(_ANSWER_LIMIT) or self._value


@attrs.define(kw_only=True, eq=False)
class Recording:
    """One dump that a recorder makes. Used once."""

    recorder: NewRecorder
    capture: Capture
    backend: str
    timeout: float | None
    stay: Stay
    announcers: Sequence[Announcer]
    standby: Standby | None
    _call_seconds: float = attrs.field(default=0.0, init=False)
    _ending: Ending = attrs.field(factory=Ending, init=False)
    _progress: Progress = attrs.field(factory=lambda: Progress("core"), init=False)
    _answer: _Answer = attrs.field(factory=_Answer, init=False)
    _thread: int | None = attrs.field(default=None, init=False)
    _end_by: float = attrs.field(init=False)
    """When the recorder is killed, by `time.monotonic`."""
    _ready_by: float = attrs.field(init=False)
    """The same, until it is ready."""
    _cancelling: bool = attrs.field(default=False, init=False)
    _killed: bool = attrs.field(default=False, init=False)
    _taken: Latch = attrs.field(factory=Latch, init=False)
    """Open once it is known who ends it: the thread that follows it, or who gives it up."""

    def __attrs_post_init__(self) -> None:
        now = time.monotonic()
        self._end_by = math.inf if self.timeout is None else now + self.timeout + _GRACE
        self._ready_by = math.inf if self.recorder.is_ready else now + _PATIENCE
        self.stay.in_child(self._ending.disown)
        self.stay.in_child(self.capture.close)

    def handle(self) -> Dump:
        """Return the dump as its caller sees it, once the capture is taken."""
        return Dump(
            name=self.recorder.name,
            backend=self.backend,
            pause=self._pause,
            threads=lambda: self.capture.threads,
            stop=self,
            progress=lambda: self._progress,
            ending=self._ending,
        )

    def _pause(self) -> Pause:
        """Return it as the native part has measured it."""
        phases = self.capture.phases
        return Pause(total=sum(phases.values()), phases=phases)

    def start(self, began: float) -> None:
        """Follow it, on a thread of its own or, where none can be started, to its end.

        *began*: when the call did that asked for it, by `time.perf_counter`.
        """
        self._call_seconds = time.perf_counter() - began
        try:
            OsThread(self._follow, "gencore-dump")
        except NoThread:
            self._follow()

    def give_up(self) -> bool:
        """Let nobody follow it. Return False if it is followed already, and ends by itself."""
        return self._taken.open()

    def stop(self, reason: Exception) -> bool:
        """Ask the recorder to cancel. Return False if it says that it is too late for that."""
        if self._thread == get_ident():  # who asks would have to take the answer
            return False
        self.begin_stop(reason)
        return self._answer.wait()

    def begin_stop(self, reason: Exception) -> None:  # noqa: ARG002 - always the same
        """Ask the recorder to cancel, and wait for nothing."""
        self._cancelling = True
        self._end_by = min(self._end_by, time.monotonic() + _GRACE)
        with ignored(OSError):
            self.recorder.process.channel.send("cancel")

    def _follow(self) -> None:
        if not self._taken.open():
            return
        self._thread = get_ident()
        report: Report | None = None
        error: BaseException | None = None
        try:
            self.recorder.close_its_end()
            for announcer in self.announcers:
                announcer.start()
            for message in self._messages():
                match message.kind:
                    case "event":
                        self._announce(message.value)
                    case "cancelling":
                        self._answer.give(cancelled=message.value)
                    case "report":
                        report = attrs.evolve(message.value, call_seconds=self._call_seconds)
                        break
                    case "error":
                        report, error = self._failed(message.value)
                        break
                    case "unable":
                        report, error = self._failed(GencoreError(message.value))
                        break
            else:
                report, error = self._failed(self._why_no_report())
        except BaseException as raised:
            error = raised
        self._finish(report, error)

    def _messages(self) -> Iterator[Message]:
        """Yield them until it has ended; kill it if it should have, and says nothing."""
        while True:
            try:
                message = self.recorder.process.receive(_LOOK_EVERY)
            except TimeoutError:
                if self._killed:  # in vain: the service may have changed its user
                    return
                if time.monotonic() >= min(self._end_by, self._ready_by):
                    self._killed = True
                    self.recorder.process.kill()
                continue
            if message is None:
                return
            if message.kind == "ready":
                self._ready_by = math.inf
            yield message

    def _why_no_report(self) -> BaseException:
        if not self._killed:
            return GencoreError(_DIED if self.recorder.process.is_started else _NOT_STARTED)
        if self._cancelling:
            return CancelledError()
        return GencoreError(_NOT_READY) if self.timeout is None else TimedOut(self.timeout)

    def _failed(self, error: BaseException) -> tuple[Report | None, BaseException | None]:
        """Return the report of a dump that the recorder could not make."""
        if isinstance(error, CancelledError) or not isinstance(error, Exception):
            return None, error
        failed = Report(
            result="failed",
            name=self.recorder.name,
            id=self.recorder.id,
            backend=self.backend,
            pause=self._pause(),
            threads=self.capture.threads,
            failed=(Failed("recorder", error),),
            recorder="process",
            call_seconds=self._call_seconds,
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
        finished = DumpFinished(dump=self.recorder.name, report=report, error=error)
        try:
            self.capture.close()
            self.recorder.close()
            if self.standby is not None:
                self.standby.renew()
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
