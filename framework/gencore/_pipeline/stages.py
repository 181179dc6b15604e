"""The stages of a dump after the instant: libraries, core, each collector, publication.

A generator of steps for a supervisor, which makes the calls of plug-ins: none is made here.
"""

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from gencore._listeners.announcer import Announcer
from gencore._pipeline.outcome import make_report, note_failure, result_of
from gencore._pipeline.participant import Participant
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Steps
from gencore.backend import Snapshot
from gencore.collector import CoreSink, DumpInProgress
from gencore.core_stream import CoreStream
from gencore.errors import CoreFailed, IntegrityError
from gencore.events import StageFinished, StageStarted
from gencore.process import MappedFile, ThreadRecord
from gencore.report import Artifact, Failed, Phase, Progress, Report

__all__ = ["Stages"]

T = TypeVar("T")
_log: Final = logging.getLogger("gencore")
_RELEASE_LIMIT: Final = 10.0
"""Seconds that a snapshot may take to let go of everything."""
_END: Final = object()


class Stages:
    """Brings one dump from its snapshot to its report. Used once."""

    def __init__(
        self,
        dump: DumpInProgress,
        snapshot: Snapshot,
        participants: list[Participant],
        stop: StopSwitch,
        announcers: list[Announcer],
    ) -> None:
        self.progress = Progress("core")
        self._dump = dump
        self._snapshot = snapshot
        self._members = participants
        self._stop = stop
        self._announcers = announcers

    def run(self) -> Steps[Report]:
        """Go through all of them, and leave nothing but what was published."""
        try:
            return (yield from self._all())
        finally:
            for participant in self._members:
                yield from participant.abort()
            yield from self._release()

    def _all(self) -> Steps[Report]:
        self._tell_of_pause()
        yield from self._describe_surroundings()
        yield from self._read_core()
        self._now("collect")
        finished = yield from self._finish_each()
        self._stop.commit()
        self._now("publish")
        published = yield from self._stage("publish", self._publish_all(finished))
        return make_report(self._dump, result_of(self._dump, published), published)

    def _tell_of_pause(self) -> None:
        name, seconds = self._dump.name, self._dump.pause.total
        begin = self._dump.phases[0].started_at
        self._tell(StageStarted(dump=name, stage="pause", at=begin))
        pause = Phase(name="pause", started_at=begin, seconds=seconds)
        self._tell(_finished(name, pause))

    def _tell(self, event: StageStarted | StageFinished) -> None:
        for announcer in self._announcers:
            announcer.tell(event)

    def _now(self, stage: Any) -> None:
        self.progress = attrs.evolve(self.progress, stage=stage)

    def _stage(self, name: str, steps: Steps[T]) -> Steps[T]:
        """Go through *steps* as a stage that the report and the listeners know."""
        started_at, begin = datetime.now(UTC), time.perf_counter()
        self._tell(StageStarted(dump=self._dump.name, stage=name, at=started_at))
        error: str | None = None
        try:
            return (yield from steps)
        except BaseException as raised:
            cancelled = isinstance(raised, CancelledError)
            error = "cancelled" if cancelled else str(raised) or type(raised).__name__
            raise
        finally:
            seconds = time.perf_counter() - begin
            phase = Phase(name=name, started_at=started_at, seconds=seconds, error=error)
            self._dump.phases.append(phase)
            self._tell(_finished(self._dump.name, phase))

    def _describe_surroundings(self) -> Steps[None]:
        try:
            yield Call(self._snapshot.pause_ended)
            threads = yield Call(lambda: _checked(self._snapshot.threads, ThreadRecord))
            self._dump.threads = threads
            if self._dump.request.threads != "caller":  # then it was asked for
                self._dump.warnings.extend(_missing_registers(threads))
            files = yield Call(lambda: _checked(self._snapshot.mapped_files(), MappedFile))
            self._dump.mapped_files = files
            if self._dump.packed:  # they will be asked for: read them while the kernel writes
                yield from self._stage("libraries", self._describe_libraries())
        except Exception as error:  # the core is worth more than the list of libraries
            self._stop.check()
            self._dump.failed.append(Failed("libraries", error))

    def _describe_libraries(self) -> Steps[None]:
        yield Call(lambda: (self._dump.libraries, self._dump.sources))
        for library in self._dump.libraries:
            if library.status in {"deleted", "unreadable"}:
                self._dump.skip(library.path, library.reason or library.status)
        # Not skipped parts: programs that are shipped without sources are dumped completely.
        for source in self._dump.sources:
            if source.sha256 is None:
                self._dump.warnings.append(f"source {source.path} is left out: {source.reason}")

    def _read_core(self) -> Steps[None]:
        """Give the core to whoever wants it. One that is not whole is a failure."""
        try:
            incomplete = yield from self._stage("core", self._stream())
        except Exception as error:
            self._stop.check()
            self._dump.core = None
            self._dump.failed.insert(0, Failed("core", error))
            return
        if incomplete is not None:
            self._dump.failed.insert(0, Failed("core", IntegrityError(incomplete)))

    def _stream(self) -> Steps[str | None]:
        """Return why the core is not whole; None if it is."""
        core: CoreStream = yield Call(self._snapshot.core)
        self._stop.check()
        if not isinstance(core, CoreStream):
            raise CoreFailed("core", detail=f"the backend returned {core!r}, not a CoreStream")
        self._dump.core = core
        try:
            yield from self._open_sinks()
            given: int | None = None
            if any(participant.sink for participant in self._members):
                given = yield from self._give(core)
            yield Call(core.wait)
            yield Call(partial(_check_length, core, given))
            incomplete: str | None = yield Call(lambda: core.incomplete)
            warnings = yield Call(lambda: tuple(core.warnings))
            gaps = yield Call(lambda: dict(self._snapshot.gaps))
            self._stop.check()
        except BaseException:
            for participant in self._members:
                yield from participant.abort()
            raise
        self._dump.warnings.extend(warnings)
        for part, reason in gaps.items():
            self._dump.skip(part, reason)
        for participant in list(self._members):
            if participant.sink is not None:
                yield from self._attempt(participant, participant.sink.close)
        return incomplete

    def _give(self, core: CoreStream) -> Steps[int]:
        """Give the core to every sink, and return its bytes."""
        size = yield Call(lambda: core.size)
        self.progress = Progress("collect", 0, size)
        chunks = yield Call(lambda: iter(core))
        try:
            return (yield from self._give_each(chunks, size))
        finally:  # a generator may hold a file until it is told to close
            yield Call(getattr(chunks, "close", lambda: None), _RELEASE_LIMIT, cleans_up=True)

    def _give_each(self, chunks: Iterator[memoryview], size: int) -> Steps[int]:
        digest = hashlib.sha256()
        following = partial(next, chunks, _END)
        while (chunk := (yield Call(following))) is not _END:
            self._stop.check()
            digest.update(chunk)
            for participant in list(self._members):
                if participant.sink is not None:
                    yield from self._attempt(participant, participant.sink.write, chunk)
            self.progress = Progress("collect", self.progress.done + len(chunk), size)
        self._dump.core_sha256 = digest.hexdigest()
        return self.progress.done

    def _open_sinks(self) -> Steps[None]:
        for participant in list(self._members):
            sink = yield from self._attempt(participant, participant.collector.begin, self._dump)
            if isinstance(sink, CoreSink):
                participant.take_sink(sink)
            elif sink is not None:
                yield from self._give_up(participant, TypeError(f"begin() returned {sink!r}"))

    def _attempt(self, participant: Participant, function: Any, *args: Any) -> Steps[Any]:
        """Make a call of a collector's; if it fails, go on without that collector."""
        try:
            return (yield from participant.call(function, *args))
        except Exception as error:
            self._stop.check()
            yield from self._give_up(participant, error)
            return None

    def _give_up(self, participant: Participant, error: Exception) -> Steps[None]:
        self._members.remove(participant)
        note_failure(self._dump, participant.name, error, required=participant.required)
        yield from participant.abort()

    def _finish_each(self) -> Steps[list[Artifact]]:
        """Let every collector finish; return what is to be published beside each other."""
        beside = self._dump.artifacts
        for participant in sorted(self._members, key=lambda participant: participant.packs):
            self._stop.check()
            participant.release_sink()
            try:
                made = yield from self._stage(participant.name, self._finish(participant))
            except Exception as error:
                self._stop.check()
                note_failure(self._dump, participant.name, error, required=participant.required)
            else:
                if participant.packs and made:
                    beside.clear()
                beside.extend(made)
        return beside

    def _finish(self, participant: Participant) -> Steps[list[Artifact]]:
        def finish() -> tuple[Artifact, ...]:
            return _checked(participant.collector.finish(self._dump), Artifact)

        made = yield from participant.call(finish)
        for artifact in made:
            _check_name(artifact.name)
        return [attrs.evolve(artifact, collector=participant.name) for artifact in made]

    def _publish_all(self, artifacts: list[Artifact]) -> Steps[tuple[Artifact, ...]]:
        published = []
        for artifact in artifacts:
            done = artifact if artifact.streamed else (yield from self._publish(artifact))
            if done is not None:
                published.append(done)
        self._dump.warnings.extend(self._dump.output.warnings)
        return tuple(published)

    def _publish(self, artifact: Artifact) -> Steps[Artifact | None]:
        try:
            path = yield Call(partial(self._dump.output.publish, artifact))
        except Exception as error:
            self._dump.failed.append(Failed(artifact.collector, error))
            return None
        return attrs.evolve(artifact, path=path)

    def _release(self) -> Steps[None]:
        for part in (self._snapshot, self._dump.output):
            try:
                yield Call(part.close, _RELEASE_LIMIT, cleans_up=True)
            except Exception:
                _log.exception("%r of dump %s could not be closed", part, self._dump.name)


def _missing_registers(threads: tuple[ThreadRecord, ...]) -> list[str]:
    """Return a warning if there are threads of which a debugger shows nothing."""
    reasons = Counter(t.reason or "unknown" for t in threads if t.registers == "missing")
    if not reasons:
        return []
    why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    return [f"{reasons.total()} of {len(threads)} threads have no registers: {why}"]


def _check_length(core: CoreStream, given: int | None) -> None:
    """See to it that a core of which bytes are missing says so, whatever its backend says."""
    if given is not None and core.incomplete is None and given != core.size - core.missing:
        core.incomplete = f"the backend gave {given:,} of {core.size:,} bytes"
        core.missing = max(0, core.size - given)


def _check_name(name: str) -> None:
    """Raise `ValueError` unless a file in a directory can have this name."""
    os.fsencode(name)
    if "/" in name or "\0" in name or name in {"", ".", ".."}:
        raise ValueError(f"{name!r} is not the name of a file")


def _finished(dump: str, phase: Phase) -> StageFinished:
    return StageFinished(
        dump=dump,
        stage=phase.name,
        at=phase.started_at + timedelta(seconds=phase.seconds),
        seconds=phase.seconds,
        error=phase.error,
    )


def _checked(values: Iterable[T], kind: type[T]) -> tuple[T, ...]:
    """Return what a plug-in returned. Raises `TypeError` where it is of another kind."""
    found = tuple(values)
    for value in found:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is not of the class {kind.__name__}")
    return found
