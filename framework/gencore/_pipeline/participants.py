"""All collectors of one dump: calls them, and goes on without those that fail."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from gencore._pipeline.artifact_names import ArtifactNames
from gencore._pipeline.artifacts import OwnArtifacts
from gencore._pipeline.outcome import note_failure
from gencore._pipeline.participant import ABORT_LIMIT, Participant
from gencore._pipeline.releasing import release
from gencore._pipeline.sink_queue import GRACE
from gencore._pipeline.state import DumpState
from gencore._pipeline.view import view_of
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Steps
from gencore.collector import CoreSink, DumpInProgress
from gencore.errors import TimedOut
from gencore.report import Artifact

__all__ = ["Participants"]

T = TypeVar("T")


class Participants:
    """Those that take part still, in the order in which they were named."""

    def __init__(self, participants: list[Participant], dump: DumpState, stop: StopSwitch) -> None:
        self._participants = participants
        self._dump = dump
        self._stop = stop
        names = ArtifactNames(participants)
        self._own = {p: _artifacts_of(p, dump, names) for p in participants}

    def __iter__(self) -> Iterator[Participant]:
        return iter(list(self._participants))

    @property
    def packer(self) -> Participant | None:
        """The one that packs, if there is one."""
        return next((p for p in self._participants if p.packs), None)

    @property
    def want_core_hash(self) -> bool:
        """Whether the core's bytes are to be hashed for them, because no sink does it."""
        if any(participant.keeps_core for participant in self._participants):
            return self._hashing_sink is None
        return not any(participant.hashes_core for participant in self._participants)

    @property
    def core_hash(self) -> str | None:
        """That of the bytes that a sink of ours was given, if it hashes them."""
        return None if self._hashing_sink is None else self._hashing_sink.sha256

    def room(self) -> memoryview | None:
        """Return where a sink of ours wants the core's next bytes; None: anywhere.

        One without memory for that fails when it is given them.
        """
        sinks = (one.sink for one in self._participants if one.built_in)
        with suppress(MemoryError):
            return next(filter(None, (sink.room() for sink in sinks if sink is not None)), None)
        return None

    @property
    def _hashing_sink(self) -> CoreSink | None:
        sinks = (one.sink for one in self._participants if one.built_in)
        return next((sink for sink in sinks if sink is not None and sink.hashes), None)

    def view(self, participant: Participant) -> DumpInProgress:
        """Return the dump as it is now, for one of them."""
        return view_of(self._dump, self._own[participant])

    def attempt(
        self, participant: Participant, function: Callable[..., T], *args: Any
    ) -> Steps[Any]:
        """Make a call of a collector's; if it fails, go on without that collector."""
        return (yield from self.go_through(participant, participant.call(function, *args)))

    def go_through(self, participant: Participant, steps: Steps[T]) -> Steps[T | None]:
        """Go through steps of a collector's; if they fail, go on without that collector."""
        try:
            return (yield from steps)
        except Exception as error:
            self._stop.check()
            yield from self.give_up(participant, error)
            return None

    def give_up(self, participant: Participant, error: Exception) -> Steps[None]:
        """Go on without one, which made nothing."""
        self._participants.remove(participant)
        note_failure(self._dump, participant.name, error, required=participant.required)
        yield from self._discard(participant)
        yield from participant.abort()

    def _discard(self, participant: Participant) -> Steps[None]:
        own = self._own[participant]
        own.end()
        yield from self._forget(participant, own)

    def _forget(self, participant: Participant, own: OwnArtifacts) -> Steps[None]:
        who = f"an artefact of collector {participant.name!r}"
        yield from release(own.forget(), who, ABORT_LIMIT)

    def finish(self, participant: Participant) -> Steps[list[Artifact]]:
        """Let one finish; return what it has made. Raises what is wrong with that."""
        view, own, core = self.view(participant), self._own[participant], self._dump.core
        whole = core is None or core.incomplete is None

        def finish() -> list[Artifact]:
            return own.finished(participant.collector.finish(view), whole=whole)

        try:
            made: list[Artifact] = yield from participant.call(finish)
        except Exception:
            yield from self._discard(participant)
            raise
        return made

    def core_failed(self) -> Steps[None]:
        """Tell every sink so, and forget what they have made of it."""
        for participant in self:
            if participant.sink is not None:
                yield from participant.abort()
                yield from self._forget(participant, self._own[participant])
                if participant.is_left_behind:  # it is not called twice at the same time
                    error = TimedOut(GRACE, f"the sink of collector {participant.name!r}")
                    yield from self.give_up(participant, error)

    def abort(self) -> Steps[None]:
        """Tell every sink that no more bytes will come, and let nobody make anything more."""
        for own in self._own.values():
            own.end()
        for participant in self:
            yield from participant.abort()


def _artifacts_of(participant: Participant, dump: DumpState, names: ArtifactNames) -> OwnArtifacts:
    packed = dump.packed and not participant.packs and not participant.keeps_core
    return OwnArtifacts(
        dump.stores, names, participant.name, keeps_core=participant.keeps_core, packed=packed
    )
