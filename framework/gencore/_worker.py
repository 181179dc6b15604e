"""What happens after the instant, on a thread of its own: read, collect, publish, report."""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime
from typing import Final

import attrs

from gencore._dump import StopSwitch
from gencore.backend import CoreStream, Snapshot
from gencore.collector import Collector, CoreSink, DumpInProgress
from gencore.errors import GencoreError, IntegrityError, TimedOut
from gencore.report import Artifact, Failed, Phase, Progress, Report, Result

__all__ = ["Worker"]

_log: Final = logging.getLogger("gencore")
_STOPPED: Final = (CancelledError, TimedOut)


class Worker:
    """Brings one dump from its snapshot to its report. Used once."""

    def __init__(
        self,
        dump: DumpInProgress,
        snapshot: Snapshot,
        collectors: list[Collector],
        core_size: int | None,
    ) -> None:
        self.stop = StopSwitch(snapshot.abort)
        self.future: Future[Report] = Future()
        self._dump = dump
        self._snapshot = snapshot
        self._collectors = collectors
        self._unfinished: dict[Collector, CoreSink] = {}
        self._progress = Progress("core", 0, core_size)

    def start(self) -> None:
        """Begin. The thread is not a daemon: a process that exits finishes its dump first."""
        threading.Thread(target=self._run, name="gencore-dump").start()

    def progress(self) -> Progress:
        """Return where the dump is; asked from other threads."""
        now = self._progress
        if now.stage == "core" and not now.done:
            return attrs.evolve(now, done=self._snapshot.written)
        return now

    def _run(self) -> None:
        timer = self._start_timer()
        report: Report | None = None
        error: BaseException | None = None
        try:
            with self._dump.output, self._snapshot:
                report = self._make()
        except _STOPPED as stopped:
            error = stopped
        except BaseException as bug:  # whoever waits must be told
            error = bug
        finally:
            if timer is not None:
                timer.cancel()
        self._progress = attrs.evolve(self._progress, stage="done")
        self._resolve(report, error)

    def _start_timer(self) -> threading.Timer | None:
        seconds = self._dump.request.timeout
        if seconds is None:
            return None
        timer = threading.Timer(seconds, lambda: self.stop.stop(TimedOut(seconds)))
        timer.daemon = True
        timer.start()
        return timer

    def _resolve(self, report: Report | None, error: BaseException | None) -> None:
        if isinstance(error, CancelledError):
            self.future.cancel()
            self.future.set_running_or_notify_cancel()
        elif isinstance(error, TimedOut):
            self._dump.failed.insert(0, Failed("core", error))
            self.future.set_result(self._report("failed", ()))
        elif error is not None:
            self.future.set_exception(error)
        elif report is not None:
            self.future.set_result(report)

    def _make(self) -> Report:
        self._describe_surroundings()
        whole = self._read_core()
        self._progress = attrs.evolve(self._progress, stage="collect")
        finished = self._finish()
        self.stop.commit()
        self._progress = attrs.evolve(self._progress, stage="publish")
        published = tuple(a for a in map(self._publish, finished) if a is not None)
        if self._dump.core is None:
            return self._report("failed", published)
        lacking = not whole or self._dump.failed or self._dump.skipped
        return self._report("partial" if lacking else "complete", published)

    def _describe_surroundings(self) -> None:
        try:
            self._snapshot.pause_ended()
            self._dump.threads = self._snapshot.threads
            self._dump.mapped_files = self._snapshot.mapped_files()
            if self._dump.packed:  # they will be asked for: read them while the kernel writes
                with self._phase("libraries"):
                    self._skip_unreadable()
                    self._warn_of_missing_sources()
        except Exception as error:  # the core is worth more than the list of libraries
            self._dump.failed.append(Failed("libraries", error))

    def _skip_unreadable(self) -> None:
        for library in self._dump.libraries:
            if library.status in {"deleted", "unreadable"}:
                self._dump.skip(library.path, library.reason or library.status)

    def _warn_of_missing_sources(self) -> None:
        """Not skipped parts: programs that are shipped without sources are dumped completely."""
        for source in self._dump.sources:
            if source.sha256 is None:
                self._dump.warnings.append(f"source {source.path} is left out: {source.reason}")

    def _read_core(self) -> bool:
        """Give the core to whoever wants it. Return whether it is whole."""
        try:
            with self._phase("core"):
                core = self._snapshot.core()
                self.stop.check()
                self._dump.core = core
                self._stream(core)
        except Exception as error:
            self.stop.check()
            self._dump.core = None
            self._dump.failed.insert(0, Failed("core", error))
            return False
        if core.incomplete is not None:
            self._dump.failed.insert(0, Failed("core", IntegrityError(core.incomplete)))
        return core.incomplete is None

    def _stream(self, core: CoreStream) -> None:
        sinks = self._open_sinks()
        try:
            if sinks:
                self._give(core, sinks)
            core.wait()
            self.stop.check()
        except BaseException:
            for sink in sinks.values():
                _abort(sink)
            raise
        self._dump.warnings.extend(core.warnings)
        for collector, sink in list(sinks.items()):
            self._attempt(collector, sink.close)
        self._unfinished = sinks

    def _give(self, core: CoreStream, sinks: dict[Collector, CoreSink]) -> None:
        digest = hashlib.sha256()
        self._progress = Progress("collect", 0, core.size)
        for chunk in core:
            self.stop.check()
            digest.update(chunk)
            self._write(sinks, chunk)
            self._progress = Progress("collect", self._progress.done + len(chunk), core.size)
        self._dump.core_sha256 = digest.hexdigest()

    def _open_sinks(self) -> dict[Collector, CoreSink]:
        sinks = {}
        for collector in list(self._collectors):
            try:
                sink = collector.begin(self._dump)
            except Exception as error:
                self._give_up(collector, error)
            else:
                if sink is not None:
                    sinks[collector] = sink
        return sinks

    def _write(self, sinks: dict[Collector, CoreSink], chunk: memoryview) -> None:
        for collector, sink in list(sinks.items()):
            try:
                sink.write(chunk)
            except Exception as error:
                del sinks[collector]
                _abort(sink)
                self._give_up(collector, error)

    def _attempt(self, collector: Collector, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._give_up(collector, error)

    def _give_up(self, collector: Collector, error: Exception) -> None:
        self._collectors.remove(collector)
        self._dump.failed.append(Failed(collector.name, error))

    def _finish(self) -> list[Artifact]:
        """Let every collector finish; return what is to be published beside each other."""
        try:
            return self._finish_each()
        except BaseException:
            for sink in self._unfinished.values():
                _abort(sink)
            raise

    def _finish_each(self) -> list[Artifact]:
        beside = self._dump.artifacts
        for collector in sorted(self._collectors, key=lambda c: c.packs):
            self.stop.check()
            self._unfinished.pop(collector, None)
            try:
                with self._phase(collector.name):
                    artifacts = list(collector.finish(self._dump))
                made = [attrs.evolve(a, collector=collector.name) for a in artifacts]
            except Exception as error:
                self._dump.failed.append(Failed(collector.name, error))
            else:
                if collector.packs and made:
                    beside.clear()
                beside.extend(made)
        return beside

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started_at, begin = datetime.now(UTC), time.perf_counter()
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._dump.phases.append(
                Phase(
                    name=name,
                    started_at=started_at,
                    seconds=time.perf_counter() - begin,
                    error=None if error is None else str(error) or type(error).__name__,
                )
            )

    def _publish(self, artifact: Artifact) -> Artifact | None:
        if artifact.streamed:
            return artifact
        try:
            return attrs.evolve(artifact, path=self._dump.output.publish(artifact))
        except GencoreError as error:
            self._dump.failed.append(Failed(artifact.collector, error))
            return None

    def _report(self, result: Result, artifacts: tuple[Artifact, ...]) -> Report:
        dump = self._dump
        return Report(
            result=result,
            name=dump.name,
            backend=dump.backend,
            pause=dump.pause,
            phases=tuple(dump.phases),
            artifacts=artifacts,
            threads=dump.threads,
            skipped=tuple(dump.skipped),
            failed=tuple(dump.failed),
            warnings=tuple(dump.warnings),
        )


def _abort(sink: CoreSink) -> None:
    try:
        sink.abort()
    except Exception:
        _log.exception("a sink raised when it was told to release everything")
