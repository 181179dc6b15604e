"""The stages of a dump after the instant: libraries, core, each collector, publication.

A generator of steps for a supervisor, which makes the calls of plug-ins: none is made here.
"""

import posixpath
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeVar

import attrs

from gencore._listeners.announcer import Announcer
from gencore._pipeline.core_reading import CoreReading
from gencore._pipeline.outcome import make_report, note_failure, result_of
from gencore._pipeline.participant import Participant
from gencore._pipeline.participants import Participants
from gencore._pipeline.publication import Publication
from gencore._pipeline.releasing import release
from gencore._pipeline.stage import StageLog
from gencore._pipeline.state import DumpState
from gencore._runtime.interpreter_facts import interpreter_facts
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Steps
from gencore.backend import Snapshot
from gencore.errors import IntegrityError
from gencore.process import MappedFile, ThreadRecord
from gencore.report import Progress, Report
from gencore.target import ProcessFacts

__all__ = ["Stages"]

T = TypeVar("T")
_RELEASE_LIMIT: Final = 10.0
"""Seconds that a snapshot may take to let go of everything."""


class Stages:
    """Brings one dump from its snapshot to its report. Used once."""

    def __init__(
        self,
        dump: DumpState,
        snapshot: Snapshot,
        participants: list[Participant],
        stop: StopSwitch,
        announcers: list[Announcer],
    ) -> None:
        self._dump = dump
        self._snapshot = snapshot
        self._stop = stop
        self._stages = StageLog(dump, announcers)
        self._participants = Participants(participants, dump, stop)
        self._reading = CoreReading(dump, snapshot, self._participants, stop)
        self._publication = Publication(dump, self._participants, self._stages, stop)

    @property
    def progress(self) -> Progress:
        """Where the dump is. From any thread."""
        read = self._reading.progress or Progress("core")
        return attrs.evolve(read, stage=self._stages.current)

    def run(self) -> Steps[Report]:
        """Go through all of them, and leave nothing but what was published."""
        try:
            return (yield from self._all())
        finally:
            yield from self._participants.abort()
            yield from self._release()

    def _all(self) -> Steps[Report]:
        self._stages.pause_is_over()
        if self._dump.request.target.other is None:
            self._dump.facts = ProcessFacts(argv=tuple(sys.orig_argv), runtime=interpreter_facts())
        yield from self._describe_surroundings()
        yield from self._read_core()
        finished = yield from self._publication.finish_each()
        self._stop.commit()
        publish = self._publication.publish(finished)
        published = yield from self._stages.stage("publish", publish)
        return make_report(self._dump, result_of(self._dump, published), published)

    def _describe_surroundings(self) -> Steps[None]:
        try:
            yield Call(self._snapshot.pause_ended)
            threads = yield Call(lambda: _checked(self._snapshot.threads, ThreadRecord))
            self._dump.threads = threads
            if self._dump.request.threads != "caller":  # then it was asked for
                self._dump.warnings.extend(_missing_registers(threads))
            files = yield Call(lambda: _checked(self._snapshot.mapped_files(), MappedFile))
            files = _each_once(files)
            self._dump.mapped_files = files
            if self._dump.packed:  # they will be asked for: read them while the kernel writes
                yield from self._stages.stage("libraries", self._describe_libraries())
        except Exception as error:  # the core is worth more than the list of libraries
            self._stop.check()
            note_failure(self._dump, "libraries", error)

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
            incomplete = yield from self._stages.stage("core", self._reading.run())
        except Exception as error:
            self._stop.check()
            self._dump.core = None
            note_failure(self._dump, "core", error)
            return
        if incomplete is not None:
            note_failure(self._dump, "core", IntegrityError(incomplete))

    def _release(self) -> Steps[None]:
        backend, stores = f"backend {self._dump.backend!r}", self._dump.stores
        yield from release([self._snapshot.close], backend, _RELEASE_LIMIT)
        yield from release(stores.leftovers(), stores.who, _RELEASE_LIMIT)


def _missing_registers(threads: tuple[ThreadRecord, ...]) -> list[str]:
    """Return a warning if there are threads of which a debugger shows nothing."""
    reasons = Counter(t.reason or "unknown" for t in threads if t.registers == "missing")
    if not reasons:
        return []
    why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    return [f"{reasons.total()} of {len(threads)} threads have no registers: {why}"]


def _checked(values: Iterable[T], kind: type[T]) -> tuple[T, ...]:
    """Return what a plug-in returned. Raises `TypeError` where it is of another kind."""
    found = tuple(values)
    for value in found:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is not of the class {kind.__name__}")
    return found


def _each_once(files: Iterable[MappedFile]) -> tuple[MappedFile, ...]:
    """Return the files, each path once and without ``..``. Raises `ValueError`."""
    found: dict[str, MappedFile] = {}
    for file in files:
        path = posixpath.normpath(file.path)
        if not path.startswith("/"):
            raise ValueError(f"mapped_files() returned {file.path!r}, expected an absolute path")
        found.setdefault(path, attrs.evolve(file, path=path))
    return tuple(found.values())
