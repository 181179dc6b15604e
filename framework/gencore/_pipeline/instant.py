"""The instant: all that happens while the process waits, and how long that took."""

import time
from collections.abc import Iterable
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, cast

import attrs

from gencore._pipeline.outcome import note_failure
from gencore._pipeline.own_code import is_own
from gencore._pipeline.participant import Participant
from gencore._pipeline.state import DumpState
from gencore._pipeline.watched_snapshot import take_watched
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.foreign_errors import shown, text_of, type_name
from gencore._runtime.os_thread import lock_that_no_child_inherits, settle
from gencore._runtime.return_values import require_none
from gencore._runtime.standing import excluded_ranges
from gencore._runtime.supervisor import Call, Steps, Supervisor
from gencore.annotations import with_standing
from gencore.backend import Backend, Snapshot
from gencore.collector import Collector
from gencore.errors import CoreFailed, GencoreError, TimedOut
from gencore.huge_pages import HugePages
from gencore.process import ObservedProcess
from gencore.report import Pause, Stage
from gencore.request import DumpRequest
from gencore.target import ProcessFacts

__all__ = ["note_huge_pages", "observers_of_others", "take_instant"]

_one_at_a_time: Final = lock_that_no_child_inherits()
"""Reentrant: a signal handler may ask for a dump in the middle of another."""
_OBSERVE_LIMIT: Final = 1.0
"""Seconds that a collector of another distribution may hold the dump up."""
_SNAPSHOT_LIMIT: Final = 60.0
"""Seconds that a third party's backend has for its snapshot in a dump without a time limit."""
_LONGEST_PAUSE: Final = 86400.0


def take_instant(dump: DumpState, backend: Backend, participants: list[Participant]) -> Snapshot:
    """Let the collectors observe, and take the snapshot; note the pause in *dump*.

    A collector that cannot observe is taken out of *participants*. Raises `CoreFailed`, and
    `TimedOut` if a third party's backend hangs.
    """
    to_file = dump.stores.are_files and any(p.keeps_core for p in participants)
    if dump.request.target.other is not None:
        return _take_other(dump, backend, participants, to_file=to_file)
    process = ObservedProcess()
    _observe_on_another_thread(dump, participants)
    settle()
    with _one_at_a_time:
        began_at, begin = datetime.now(UTC), time.perf_counter()
        if dump.request.sources:
            process.python_threads()
        _observe(dump, participants, process)
        observed = time.perf_counter()
        request = dump.request.without(excluded_ranges())
        snapshot = _take(request, dump, backend, to_file=to_file)
        end = time.perf_counter()
    try:
        dump.request, dump.pause = request, _pause_of(snapshot, end - observed)
        before = end - begin - dump.pause.total
        dump.observed_before = before
        dump.stages.append(Stage(name="observe", started_at=began_at, seconds=observed - begin))
        _note_pause(dump, began_at + timedelta(seconds=before))
        dump.python_files = process.python_files() if dump.request.sources else ()
    except BaseException:
        snapshot.close()
        raise
    return snapshot


def _take_other(
    dump: DumpState, backend: Backend, participants: list[Participant], *, to_file: bool
) -> Snapshot:
    """Take the snapshot of another process; let collectors observe what it has said of itself."""
    began_at, begin = datetime.now(UTC), time.perf_counter()
    snapshot = _take(dump.request, dump, backend, to_file=to_file)
    seconds = time.perf_counter() - begin
    try:
        dump.facts = _checked_facts(snapshot)
        others = {} if dump.facts is None else dump.facts.annotations
        annotations = with_standing(dump.request.annotations, others)
        dump.request = attrs.evolve(
            dump.request, annotations=annotations, excluded=snapshot.excluded
        )
        dump.pause = _pause_of(snapshot, seconds)
        _note_pause(dump, began_at)
        note_huge_pages(dump, snapshot.huge_pages)
        if dump.facts is not None and dump.facts.python_threads is not None:
            process = ObservedProcess(dump.request.target.pid, dump.facts.python_threads)
            dump.observed_before = dump.facts.observed_before
            _observe(dump, participants, process)
            dump.python_files = process.python_files() if dump.request.sources else ()
    except BaseException:
        snapshot.close()
        raise
    return snapshot


def observers_of_others(participants: Iterable[Participant]) -> list[str]:
    """Return the names of the collectors that must observe the process itself."""
    return [one.name for one in _observers(participants, built_in=False)]


def _checked_facts(snapshot: Snapshot) -> ProcessFacts | None:
    facts: object = snapshot.facts
    if not isinstance(facts, ProcessFacts | None):
        raise CoreFailed("snapshot", detail=f"the backend's facts are {shown(facts)}")
    return facts


def _observe(dump: DumpState, participants: list[Participant], process: ObservedProcess) -> None:
    """Let our own collectors observe, on this thread: what they see is of the instant."""
    for participant in _observers(participants, built_in=True):
        try:
            participant.collector.observe(process)
        except Exception as error:
            reraise_if_from_handler(error)
            _take_out(dump, participants, participant, error)


def _observe_on_another_thread(dump: DumpState, participants: list[Participant]) -> None:
    """Let those of others observe a moment before, where they can be left behind if they hang."""
    others = list(_observers(participants, built_in=False))
    process, context = ObservedProcess(), copy_context()

    def steps() -> Steps[None]:
        for participant in others:
            observe = partial(context.run, _observe_one, participant, process)
            error = TimedOut(_OBSERVE_LIMIT, f"collector {participant.name!r}")
            try:
                yield Call(observe, _OBSERVE_LIMIT, error)
            except Exception as raised:
                reraise_if_from_handler(raised)  # where no thread of ours could be started
                _take_out(dump, participants, participant, raised)

    if others:
        Supervisor(steps()).run()


def _observe_one(participant: Participant, process: ObservedProcess) -> None:
    returned: object = participant.collector.observe(process)  # type: ignore[func-returns-value]  # that of others may
    require_none(returned, "observe")


def _observers(participants: Iterable[Participant], *, built_in: bool) -> Iterable[Participant]:
    for participant in list(participants):
        overrides = type(participant.collector).observe is not Collector.observe
        if overrides and participant.built_in == built_in:
            yield participant


def _take_out(
    dump: DumpState,
    participants: list[Participant],
    participant: Participant,
    error: Exception,
) -> None:
    participants.remove(participant)
    note_failure(dump, participant.name, error, required=participant.required)


def _take(request: DumpRequest, dump: DumpState, backend: Backend, *, to_file: bool) -> Snapshot:
    limit = _SNAPSHOT_LIMIT if request.timeout is None else request.timeout
    try:
        take = partial(backend.snapshot, request, dump.output, to_file=to_file)
        own = is_own(backend.snapshot)
        snapshot: object = take() if own else take_watched(take, limit, dump.backend)
        is_snapshot = isinstance(snapshot, Snapshot)
    except GencoreError:
        raise
    except Exception as error:
        reraise_if_from_handler(error)
        detail = f"backend {dump.backend!r} raised {type_name(error)}: {text_of(error)}"
        raise CoreFailed("snapshot", detail=detail) from error
    if not is_snapshot:
        detail = f"backend {dump.backend!r} returned {shown(snapshot)}, not a Snapshot"
        raise CoreFailed("snapshot", detail=detail)
    return cast("Snapshot", snapshot)


def _phases_told_by(snapshot: Snapshot) -> dict[str, float]:
    """Return the parts of the pause. Raises `CoreFailed`."""
    try:
        return {name: _seconds(value) for name, value in snapshot.phases.items()}
    except Exception as error:
        reraise_if_from_handler(error)
        detail = f"the phases of the backend's snapshot are not seconds by name: {text_of(error)}"
        raise CoreFailed("snapshot", detail=detail) from error


def _seconds(value: float) -> float:
    if not 0 <= value < _LONGEST_PAUSE:
        raise ValueError(f"{value!r}")
    return float(value)


def _pause_of(snapshot: Snapshot, seconds: float) -> Pause:
    """Return it as the backend has measured it, or else as long as the call took."""
    phases = _phases_told_by(snapshot)
    return Pause(
        total=seconds if snapshot.pause is None else _seconds(snapshot.pause), phases=phases
    )


def note_huge_pages(dump: DumpState, found: HugePages | None) -> None:
    """Note what was collapsed for a dump, and warn if that is not all that was asked for."""
    dump.huge_pages = found
    if found is None and dump.request.huge_pages:
        dump.warnings.append("huge pages: nothing was collapsed: the target or the backend cannot")
    elif found is not None and found.stopped is not None:
        dump.warnings.append(f"huge pages: {found}")


def _note_pause(dump: DumpState, begin: datetime) -> None:
    """List its parts as stages, in the order in which they happen."""
    dump.paused_at = begin
    for name, seconds in dump.pause.phases.items():
        dump.stages.append(Stage(name=name, started_at=begin, seconds=seconds))
        begin += timedelta(seconds=seconds)
