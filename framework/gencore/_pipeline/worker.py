"""What happens after the instant, on threads of its own: the stages, watched, to their end."""

import time
from concurrent.futures import CancelledError
from typing import Final

import attrs

from gencore._listeners.announcer import PATIENCE, Announcer
from gencore._pipeline.dump import Dump, Ending
from gencore._pipeline.outcome import make_report, note_failure
from gencore._pipeline.participant import Participant
from gencore._pipeline.stages import Stages
from gencore._pipeline.state import DumpState
from gencore._runtime.lifetime import Stay, is_closed
from gencore._runtime.os_thread import Latch, NoThread, OsThread, leave
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Supervisor
from gencore.backend import Snapshot
from gencore.errors import TimedOut
from gencore.events import DumpFinished
from gencore.report import Progress, Report

__all__ = ["Worker"]

_WRITING: Final = {"pause", "libraries", "core"}
"""Stages in which the core may be written while nobody reads it yet."""
_BEGIN_LIMIT: Final = 5.0
"""Seconds that the dump's thread has to begin."""


class Worker:
    """Brings one dump from its snapshot to its report. Used once."""

    def __init__(
        self,
        dump: DumpState,
        snapshot: Snapshot,
        participants: list[Participant],
        core_size: int | None,
        announcers: list[Announcer],
    ) -> None:
        self._claim = Latch()  # whoever opens it leaves nothing behind
        self.stop = StopSwitch(snapshot.abort)
        self._ending = Ending()
        self._dump = dump
        self._snapshot = snapshot
        self._core_size = core_size
        self._announcers = announcers
        self._stages = Stages(dump, snapshot, participants, self.stop, announcers)

    def handle(self) -> Dump:
        """Return the dump as its caller sees it."""
        dump, snapshot = self._dump, self._snapshot
        return Dump(
            name=dump.name,
            backend=dump.backend,
            pause=lambda: dump.pause,
            threads=lambda: dump.threads or snapshot.threads,
            stop=self.stop,
            progress=self.progress,
            ending=self._ending,
        )

    def start(self, stay: Stay) -> None:
        """Begin, on a thread of its own. *stay* ends with the dump.

        Where none begins although one could a moment ago, or where the process would not wait for
        one any more, all is done here and now: a dump that was taken is not thrown away.
        """
        self._stay = stay
        seconds = self._dump.request.timeout
        if seconds is not None:
            self._dump.end_by = time.monotonic() + seconds
        stay.in_child(self._ending.disown)
        if (is_closed() or not self._begin_elsewhere()) and self._claim.open():
            self._go_through()
            if isinstance(self._ending.error, KeyboardInterrupt):
                raise self._ending.error

    def _begin_elsewhere(self) -> bool:
        limit = min(_BEGIN_LIMIT, self._dump.request.timeout or _BEGIN_LIMIT)
        try:
            return OsThread(self._run, "gencore-dump").begun.wait(limit)
        except NoThread:
            return False

    def give_up(self) -> bool:
        """Cancel the dump. Return whether somebody had begun with it, who then leaves nothing."""
        self.stop.stop(CancelledError())
        return not self._claim.open()

    def progress(self) -> Progress:
        """Return where the dump is; asked from other threads."""
        now = self._stages.progress
        if self._ending.known:
            return attrs.evolve(now, stage="done")
        if now.done or now.stage not in _WRITING:
            return now
        try:
            return attrs.evolve(now, done=self._snapshot.written, total=self._core_size)
        except Exception:  # the output was closed meanwhile, or the backend is at fault
            return now

    def _run(self) -> None:
        if self._claim.open():
            self._go_through()

    def _go_through(self) -> None:
        report: Report | None = None
        error: BaseException | None = None
        try:
            for announcer in self._announcers:
                announcer.start()
            report = Supervisor(self._stages.run(), self.stop).run(self._look)
        except TimedOut as passed:
            note_failure(self._dump, "core", passed)
            report = make_report(self._dump, "failed")
        except BaseException as raised:  # whoever waits must be told
            error = raised
        try:
            for announcer in self._announcers:
                announcer.finish(DumpFinished(dump=self._dump.name, report=report, error=error))
            until = time.monotonic() + PATIENCE
            for announcer in self._announcers:
                announcer.wait(until)
        finally:
            leave()
            self._ending.set(report, error)
            self._stay.end()

    def _look(self) -> None:
        if time.monotonic() >= self._dump.end_by:
            self.stop.stop(TimedOut(self._dump.request.timeout or 0))
        for announcer in self._announcers:
            announcer.tell_progress(self.progress)
