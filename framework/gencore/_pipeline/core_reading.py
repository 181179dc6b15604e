"""Reads the core once, and gives each chunk to every collector that wants it."""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Final

from gencore._pipeline.checked_core import CheckedCore
from gencore._pipeline.own_code import is_own
from gencore._pipeline.participants import Participants
from gencore._pipeline.state import DumpState
from gencore._runtime.foreign_errors import shown
from gencore._runtime.return_values import unexpected
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Steps
from gencore.backend import Snapshot
from gencore.collector import Collector, CoreSink, DumpInProgress
from gencore.core_stream import CHUNK_SIZE, CoreStream
from gencore.errors import CoreFailed
from gencore.report import Progress

__all__ = ["CoreReading"]

_CLOSE_LIMIT: Final = 10.0
"""Seconds that a stream may take to close."""
_END: Final = object()


class CoreReading:
    """The stage ``core`` of one dump. Used once."""

    def __init__(
        self, dump: DumpState, snapshot: Snapshot, participants: Participants, stop: StopSwitch
    ) -> None:
        self.progress: Progress | None = None
        """How many bytes were given; None until the first."""
        self._dump = dump
        self._snapshot = snapshot
        self._participants = participants
        self._stop = stop

    def run(self) -> Steps[str | None]:
        """Return why the core is not whole; None if it is. Raises `CoreFailed`."""
        core: CoreStream = yield Call(self._snapshot.core)
        self._stop.check()
        if not isinstance(core, CoreStream):
            raise CoreFailed(
                "core", detail=f"the backend returned {shown(core)}, not a CoreStream"
            )
        try:
            if not is_own(type(core)):
                core = checked = CheckedCore(core)
                yield from self._check(checked)
            self._dump.core = core
            incomplete = yield from self._to_its_end(core)
        except BaseException:
            yield from self._participants.core_failed()
            if isinstance(core, CheckedCore):
                yield Call(core.close, _CLOSE_LIMIT, cleans_up=True)
            raise
        for participant in self._participants:
            if participant.sink is not None:
                yield from self._participants.go_through(participant, participant.close_sink())
        self._stop.check()  # a stopped dump's sinks end early
        return incomplete

    def _check(self, core: CheckedCore) -> Steps[None]:
        yield Call(core.begin)
        if core.correction is not None:
            self._dump.warnings.append(f"backend {self._dump.backend!r} {core.correction}")

    def _to_its_end(self, core: CoreStream) -> Steps[str | None]:
        size: int = yield Call(lambda: core.size)
        yield from self._open_sinks(size)
        given: int | None = None
        if any(participant.sink for participant in self._participants):
            given = yield from self._give(core, size)
        yield Call(core.wait)
        yield Call(partial(_check_length, core, given))
        incomplete: str | None = yield Call(lambda: core.incomplete)
        warnings = yield Call(lambda: tuple(core.warnings))
        gaps = yield Call(lambda: dict(self._snapshot.gaps))
        self._stop.check()
        self._dump.warnings.extend(warnings)
        for part, reason in gaps.items():
            self._dump.skip(part, reason)
        return incomplete

    def _open_sinks(self, core_size: int) -> Steps[None]:
        for participant in self._participants:
            view = self._participants.view(participant)
            begin = partial(_begin, participant.collector)
            sink = yield from self._participants.attempt(participant, begin, view)
            if sink is not None:
                participant.take_sink(sink, core_size, self._stop)

    def _give(self, core: CoreStream, size: int) -> Steps[int]:
        """Give the core to every sink, and return its bytes."""
        self.progress = Progress("core", 0, size)
        buffer = memoryview(bytearray(CHUNK_SIZE))
        room = self._participants.room
        chunks = yield Call(lambda: iter(core.put_into(lambda: room() or buffer)))
        try:
            return (yield from self._give_each(chunks, size))
        finally:  # a generator may hold a file until it is told to close
            yield Call(getattr(chunks, "close", lambda: None), _CLOSE_LIMIT, cleans_up=True)

    def _give_each(self, chunks: Iterator[memoryview], size: int) -> Steps[int]:
        given = 0
        digest = hashlib.sha256() if self._participants.want_core_hash else None
        following = partial(next, chunks, _END)
        while (chunk := (yield Call(following))) is not _END:
            self._stop.check()
            view = memoryview(chunk).cast("B").toreadonly()
            if given + len(view) > size:
                raise CoreFailed("core", detail=f"the backend gives more than {size:,} bytes")
            if digest is not None:
                digest.update(view)
            for participant in self._participants:
                if participant.sink is not None:
                    yield from self._participants.go_through(participant, participant.give(view))
            given += len(view)
            self.progress = Progress("core", given, size)
        by_sink = self._participants.core_hash
        self._dump.core_sha256 = by_sink if digest is None else digest.hexdigest()
        return given


def _begin(collector: Collector, view: DumpInProgress) -> CoreSink | None:
    sink: object = collector.begin(view)
    if sink is None or isinstance(sink, CoreSink):
        return sink
    raise unexpected(sink, "begin", "None or a CoreSink")


def _check_length(core: CoreStream, given: int | None) -> None:
    """See to it that a core of which bytes are missing says so, whatever its backend says."""
    if given is not None and given != core.size - core.missing:
        core.missing = max(0, core.size - given)
        if core.incomplete is None:
            core.incomplete = f"the backend delivered {given:,} of {core.size:,} bytes"
