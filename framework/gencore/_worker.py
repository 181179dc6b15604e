"""What happens after the instant, on threads of its own: the stages, watched, to their end."""

import threading
from concurrent.futures import CancelledError, Future

import attrs

from gencore._announcer import Announcer
from gencore._dump import Dump, StopSwitch
from gencore._members import Member
from gencore._outcome import make_report
from gencore._stages import Stages
from gencore._supervisor import Supervisor
from gencore.backend import Snapshot
from gencore.collector import DumpInProgress
from gencore.errors import Refused, TimedOut
from gencore.events import DumpFinished
from gencore.report import Failed, Progress, Report

__all__ = ["Worker"]


class Worker:
    """Brings one dump from its snapshot to its report. Used once."""

    def __init__(
        self,
        dump: DumpInProgress,
        snapshot: Snapshot,
        members: list[Member],
        core_size: int | None,
        announcers: list[Announcer],
    ) -> None:
        self._claim = threading.Lock()  # whoever takes it leaves nothing behind
        self.stop = StopSwitch(snapshot.abort)
        self.future: Future[Report] = Future()
        self._dump = dump
        self._snapshot = snapshot
        self._core_size = core_size
        self._announcers = announcers
        self._stages = Stages(dump, snapshot, members, self.stop, announcers)

    def handle(self) -> Dump:
        """Return the dump as its caller sees it."""
        dump, snapshot = self._dump, self._snapshot
        return Dump(
            name=dump.name,
            backend=dump.backend,
            pause=dump.pause,
            threads=lambda: dump.threads or snapshot.threads,
            stop=self.stop,
            progress=self.progress,
            future=self.future,
        )

    def start(self) -> None:
        """Begin. The thread is not a daemon: a process that exits finishes its dump first.

        Raises `Refused` where no thread can be started.
        """
        try:
            threading.Thread(target=self._run, name="gencore-dump").start()
        except RuntimeError as error:
            raise Refused(
                f"no thread for the dump: {error}",
                remedy="raise the limit on processes (ulimit -u) or pids.max of the cgroup",
            ) from error

    def give_up(self) -> bool:
        """Cancel the dump. Return whether its thread had begun, which then leaves nothing."""
        self.stop.stop(CancelledError())
        return not self._claim.acquire(blocking=False)

    def progress(self) -> Progress:
        """Return where the dump is; asked from other threads."""
        now = self._stages.progress
        if self.future.done():
            return attrs.evolve(now, stage="done")
        if now.stage != "core" or now.done:
            return now
        try:
            return attrs.evolve(now, done=self._snapshot.written, total=self._core_size)
        except Exception:  # the output was closed meanwhile, or the backend is at fault
            return now

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            self._resolve(None, CancelledError())
            return
        report: Report | None = None
        error: BaseException | None = None
        timer = self._start_timer()
        try:
            for announcer in self._announcers:
                announcer.start()
            report = Supervisor(self._stages.run(), self.stop).run(self._tell_progress)
        except TimedOut as passed:
            self._dump.failed.insert(0, Failed("core", passed))
            report = make_report(self._dump, "failed")
        except BaseException as raised:  # whoever waits must be told
            error = raised
        finally:
            if timer is not None:
                timer.cancel()
        for announcer in self._announcers:
            announcer.finish(DumpFinished(dump=self._dump.name, report=report, error=error))
        self._resolve(report, error)

    def _tell_progress(self) -> None:
        for announcer in self._announcers:
            announcer.tell_progress(self.progress)

    def _start_timer(self) -> threading.Timer | None:
        seconds = self._dump.request.timeout
        if seconds is None:
            return None
        try:
            timer = threading.Timer(seconds, lambda: self.stop.stop(TimedOut(seconds)))
            timer.daemon = True
            timer.start()
        except RuntimeError as error:  # a dump without its time limit is not what was asked for
            self.stop.stop(Refused(f"no thread for the time limit: {error}"))
            return None
        return timer

    def _resolve(self, report: Report | None, error: BaseException | None) -> None:
        if report is not None:
            self.future.set_result(report)
        elif isinstance(error, CancelledError):
            self.future.cancel()
            self.future.set_running_or_notify_cancel()
        else:
            self.future.set_exception(error)
