"""Lets every collector finish, and gives what they made its final names."""

import math
import time
from functools import partial
from typing import Final

from gencore._pipeline.outcome import note_failure
from gencore._pipeline.participant import Participant
from gencore._pipeline.participants import Participants
from gencore._pipeline.stage import StageLog
from gencore._pipeline.state import DumpState
from gencore._runtime.return_values import unexpected
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Steps
from gencore.collector import Packing
from gencore.errors import TimedOut
from gencore.report import Artifact

__all__ = ["Publication"]


_LEAST: Final = 10.0
"""Seconds that a destination has for all commits although the time of the dump has passed."""
_MOST: Final = 3600.0
"""Seconds that it has in a dump without a time limit: from here on it cannot be cancelled."""


class Publication:
    """The stages of the collectors, and ``publish``. Used once."""

    def __init__(
        self, dump: DumpState, participants: Participants, stages: StageLog, stop: StopSwitch
    ) -> None:
        self._dump = dump
        self._participants = participants
        self._stages = stages
        self._stop = stop
        self._beside: list[Artifact] = []
        """What is published although the rest is packed."""

    def finish_each(self) -> Steps[list[Artifact]]:
        """Return what is to be published. Who packs comes last."""
        yield from self._ask_for_packing()
        for participant in sorted(self._participants, key=lambda p: p.packs):
            self._stop.check()
            participant.release_sink()
            finish = self._participants.finish(participant)
            try:
                made = yield from self._stages.stage(participant.name, finish)
            except Exception as error:
                self._stop.check()
                note_failure(self._dump, participant.name, error, required=participant.required)
            else:
                self._keep(participant, made)
        return [*self._dump.artifacts, *self._beside]

    def _keep(self, participant: Participant, made: list[Artifact]) -> None:
        """Sort what one has made: only what is packed, or could be, is shown to the packer."""
        if participant.packs and made:
            self._beside += [a for a in self._dump.artifacts if a.streamed]
            self._dump.artifacts.clear()
        if participant.keeps_core and self._dump.packed:
            self._beside += made
        else:
            self._dump.artifacts += made

    def _ask_for_packing(self) -> Steps[None]:
        packer = self._participants.packer
        if packer is None or self._dump.core is None:
            return
        ask = partial(_packing_of, packer, self._participants)
        self._dump.packing = yield from self._participants.attempt(packer, ask)

    def publish(self, artifacts: list[Artifact]) -> Steps[tuple[Artifact, ...]]:
        """Give each its final name; return those that have one, and what was streamed."""
        published, until = [], _end_of_commits(self._dump.end_by, time.monotonic())
        for artifact in artifacts:
            done = artifact if artifact.streamed else (yield from self._publish(artifact, until))
            if done is not None:
                published.append(done)
        if published:
            yield from self._dump.earlier.limit(max(_LEAST, until - time.monotonic()))
        self._dump.warnings.extend(self._dump.output.warnings)
        return tuple(published)

    def _publish(self, artifact: Artifact, until: float) -> Steps[Artifact | None]:
        stores = self._dump.stores
        left = None if stores.are_files else max(0.0, until - time.monotonic())
        error = TimedOut(round(left or 0, 1), f"commit() of {artifact.name!r} by {stores.who}")
        try:
            published: Artifact = yield Call(partial(stores.publish, artifact), left, error)
        except Exception as error:
            note_failure(self._dump, artifact.collector, error, required=True)
            return None
        return published


def _end_of_commits(end_by: float, now: float) -> float:
    """Return when the last commit must have returned, in a dump that is to end at *end_by*."""
    return now + _MOST if end_by == math.inf else max(end_by, now + _LEAST)


def _packing_of(packer: Participant, participants: Participants) -> Packing | None:
    packing: object = packer.collector.packing(participants.view(packer))
    if packing is not None and not isinstance(packing, Packing):
        raise unexpected(packing, "packing", "a Packing")
    return packing
