"""Reads the core once, and gives each chunk to every collector that wants it."""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Final

from gencore._pipeline.participants import Participants
from gencore._pipeline.state import DumpState
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Steps
from gencore.backend import Snapshot
from gencore.collector import CoreSink
from gencore.core_stream import CoreStream
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
            raise CoreFailed("core", detail=f"the backend returned {core!r}, not a CoreStream")
        self._dump.core = core
        try:
            incomplete = yield from self._to_its_end(core)
        except BaseException:
            yield from self._participants.core_failed()
            raise
        for participant in self._participants:
            if participant.sink is not None:
                yield from self._participants.attempt(participant, participant.sink.close)
        return incomplete

    def _to_its_end(self, core: CoreStream) -> Steps[str | None]:
        yield from self._open_sinks()
        given: int | None = None
        if any(participant.sink for participant in self._participants):
            given = yield from self._give(core)
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

    def _open_sinks(self) -> Steps[None]:
        for participant in self._participants:
            view = self._participants.view(participant)
            begin = participant.collector.begin
            sink = yield from self._participants.attempt(participant, begin, view)
            if isinstance(sink, CoreSink):
                participant.take_sink(sink)
            elif sink is not None:
                error = TypeError(f"begin() returned {sink!r}")
                yield from self._participants.give_up(participant, error)

    def _give(self, core: CoreStream) -> Steps[int]:
        """Give the core to every sink, and return its bytes."""
        size = yield Call(lambda: core.size)
        self.progress = Progress("collect", 0, size)
        chunks = yield Call(lambda: iter(core))
        try:
            return (yield from self._give_each(chunks, size))
        finally:  # a generator may hold a file until it is told to close
            yield Call(getattr(chunks, "close", lambda: None), _CLOSE_LIMIT, cleans_up=True)

    def _give_each(self, chunks: Iterator[memoryview], size: int) -> Steps[int]:
        digest, given = hashlib.sha256(), 0
        following = partial(next, chunks, _END)
        while (chunk := (yield Call(following))) is not _END:
            self._stop.check()
            view = memoryview(chunk).cast("B").toreadonly()
            if given + len(view) > size:
                raise CoreFailed("core", detail=f"the backend gives more than {size:,} bytes")
            digest.update(view)
            for participant in self._participants:
                if participant.sink is not None:
                    write = partial(_write, participant.sink, view)
                    yield from self._participants.attempt(participant, write)
            given += len(view)
            self.progress = Progress("collect", given, size)
        self._dump.core_sha256 = digest.hexdigest()
        return given


def _write(sink: CoreSink, chunk: memoryview) -> None:
    returned: object = sink.write(chunk)
    if returned is not None:
        close = getattr(returned, "close", lambda: None)  # of a coroutine that nobody awaits
        close()
        raise TypeError(f"write() returned {type(returned).__name__}, expected None")


def _check_length(core: CoreStream, given: int | None) -> None:
    """See to it that a core of which bytes are missing says so, whatever its backend says."""
    if given is not None and core.incomplete is None and given != core.size - core.missing:
        core.incomplete = f"the backend gave {given:,} of {core.size:,} bytes"
        core.missing = max(0, core.size - given)
