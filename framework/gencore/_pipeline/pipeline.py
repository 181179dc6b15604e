"""The pipeline: choose a backend, check the surroundings, take the instant, start a worker."""

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import attrs

from gencore._listeners.announcer import Announcer
from gencore._listeners.log_records import write_record
from gencore._listeners.spans import span_listener, trace_ids
from gencore._pipeline.dump import Dump
from gencore._pipeline.earlier_dumps import EarlierDumps
from gencore._pipeline.instant import take_instant
from gencore._pipeline.outcome import note_failure
from gencore._pipeline.participant import Participant
from gencore._pipeline.room import check_room
from gencore._pipeline.selection import Selection
from gencore._pipeline.space import check_space
from gencore._pipeline.state import DumpState
from gencore._pipeline.stores import Stores
from gencore._pipeline.ways_out import WaysOut
from gencore._pipeline.worker import Worker
from gencore._runtime import standing
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.lifetime import Stay
from gencore._settings.mapping import options_from_mapping
from gencore._settings.options import Options
from gencore._settings.sources import resolve_settings
from gencore.annotations import with_standing
from gencore.backend import Backend, Snapshot
from gencore.errors import OutputError, Refused, Unsupported, UsageError
from gencore.naming import dump_id, dump_name, pattern_of
from gencore.output import Output
from gencore.report import Report, describe_error
from gencore.verdict import Reason, Verdict

__all__ = ["Pipeline", "collect_core", "create_core", "start"]


class Pipeline:
    """Backend and collectors, chosen and loaded once and used for many dumps.

    What is not given, or None, is what the file named by ``GENCORE_CONFIG`` says, or the default.

    Args:
        backend: A backend's name, an object of it, or a `BackendSpec`; default:
            ``GENCORE_BACKEND``, or else the one of highest priority that works here, of gencore's
            own and those that ``GENCORE_PLUGINS`` names.
        collectors: Names of collectors, callables that return a new one for each dump, or a
            `CollectorSpec` of either; default: ``manifest`` and ``archive``.
        directory: Where the artefacts go; default: ``GENCORE_DIRECTORY``, or the current one.
        destination: Where they go instead: a destination's name, what returns a new one for each
            dump, or a `DestinationSpec` of either; default: ``GENCORE_DESTINATION``, or none. An
            artefact is sent while it is made.
        filters: What their bytes pass on the way, the first one first: names, callables, or a
            `FilterSpec` of either. Nothing unfiltered is written to a disk.
        name: A template for the names of the dumps, see `gencore.naming`.
        threads, content, timeout, annotations, with_dontdump, allow_undumpable, sources, force:
            see `DumpRequest`.
        target, reason: The process ID of another process to dump, and why; see `DumpRequest`.
        on_event: Called with each event of each dump, see `gencore.events`, in order and on a
            thread of that dump's own. A dump waits a second for it at its end, at most; its
            exceptions are logged.
        listeners: More of them: callables, or the names of installed ones.

    Raises `UsageError` and `PluginError`.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        settings = resolve_settings(options)
        self._directory = settings.directory
        self._name = settings.name
        self._on_event = settings.on_event
        self._request = settings.request
        self._selection = Selection(settings.backend, settings.collectors)
        self._ways_out = WaysOut(settings)

    @property
    def directory(self) -> Path:
        """Where the artefacts go. Raises `OutputError`."""
        try:
            return Path(self._directory or Path.cwd())
        except OSError as error:
            reraise_if_from_handler(error)
            what = "the working directory was removed, or cannot be reached"
            raise OutputError(
                ".", error.errno or errno.EIO, what, remedy="pass directory=..."
            ) from error

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Build a pipeline from data: JSON, TOML, YAML that was read already.

        The keys are those of the arguments, without ``on_event``; a collector is a name, or a
        table with the fields of `CollectorSpec`, and a backend in the same way. Raises
        `UsageError` with the path of each wrong value, such as ``$.collectors[1].timeout``, and
        `PluginError`.
        """
        return cls(**options_from_mapping(mapping))

    def start(self) -> Dump:
        """Take the instant, and return once the process runs on.

        Raises `UsageError` if two backends have one priority, `Unsupported`, `Refused`,
        `PluginError`, `CoreFailed`, `TimedOut` if another distribution's backend hangs, and
        whatever a handler of a signal raises meanwhile, with nothing left behind.
        """
        stay = Stay()
        dump: DumpState | None = None
        snapshot: Snapshot | None = None
        worker: Worker | None = None
        try:
            check_room(self._request.timeout)
            backend, verdict = self._choose()
            _check_identity()
            dump = self._begin(backend)
            stay.in_child(dump.output.close)
            participants = self._selection.make_participants(partial(note_failure, dump))
            dump.packed = any(participant.packs for participant in participants)
            files = dump.stores.are_files and any(p.makes_files for p in participants)
            dump.earlier.make_room(dump.output if files else None)
            if files:
                warnings = self._check_space(dump.output.prepare(), participants, backend, verdict)
                dump.warnings.extend(warnings)
                dump.output.refuse_rival()
            announcers = self._announcers(dump.name)
            snapshot = take_instant(dump, backend, participants)
            worker = Worker(dump, snapshot, participants, verdict.core_size, announcers)
            handle = worker.handle()
            worker.start(stay)
        except BaseException:  # Ctrl-C too, at whatever line
            if worker is None or not worker.give_up():
                _undo(snapshot, dump)
                stay.end()
            raise
        return handle

    def check(self) -> None:
        """Raise what `start` would raise before the pause, or what would fail then already.

        A required collector that cannot be made, or that fails its own check, is `Refused`.
        Nothing is left behind.
        """
        check_room(self._request.timeout)
        backend, verdict = self._choose()
        _check_identity()
        way = self._ways_out.make()
        participants = self._selection.make_participants(_refuse)
        if way.outgoing is None and any(p.makes_files for p in participants):
            with Output(way.directory or self.directory, "check") as output:
                self._check_space(output.prepare(), participants, backend, verdict)

    def run(self) -> Report:
        """Make a dump and wait for its end."""
        return self.start().result()

    def _begin(self, backend: Backend) -> DumpState:
        created_at = datetime.now(UTC)
        own_id = dump_id(created_at)
        name = dump_name(self._name, created_at, own_id, self._request.target.pid)
        annotations = self._request.annotations
        if self._request.target.other is None:
            annotations = with_standing(annotations, standing.annotations.copy())
        way = self._ways_out.make(name)
        output = Output(way.directory or self.directory, name)
        return DumpState(
            name=name,
            id=own_id,
            created_at=created_at,
            request=attrs.evolve(self._request, annotations=annotations),
            backend=backend.name,
            method=backend.method,
            plugins=(*self._selection.plugins, *self._ways_out.plugins),
            output=output,
            stores=Stores(output, way.outgoing),
            earlier=EarlierDumps(name, pattern_of(self._name), way),
            trace=trace_ids(),
            warnings=list(self._selection.warnings),
        )

    def _announcers(self, name: str) -> list[Announcer]:
        """Return who is told: what the caller listens with can hold up nothing else."""
        spans = span_listener()
        ours = [write_record] if spans is None else [write_record, spans]
        theirs = [*self._ways_out.listeners, *filter(None, [self._on_event])]
        return [Announcer(name, ours), *(Announcer(name, [listener]) for listener in theirs)]

    def _check_space(
        self, output: Output, participants: list[Participant], backend: Backend, verdict: Verdict
    ) -> list[str]:
        streams, force = backend.streams, self._request.force
        return check_space(output, participants, verdict.core_size, streams=streams, force=force)

    def _choose(self) -> tuple[Backend, Verdict]:
        answered = self._selection.ask_backends(self._request)
        verdicts = [
            (backend, self._with_filters(backend, verdict)) for backend, verdict in answered
        ]
        willing = [(backend, verdict) for backend, verdict in verdicts if verdict.ok]
        if not willing:
            answers = {backend.name: verdict for backend, verdict in verdicts}
            raise Unsupported({**answers, **self._selection.passed_over})
        best = max(backend.priority for backend, _ in willing)
        first, *others = [choice for choice in willing if choice[0].priority == best]
        if others:
            names = ", ".join(backend.name for backend, _ in (first, *others))
            raise UsageError(
                f"the backends {names} have the same priority", remedy="choose one: backend=..."
            )
        return first

    def _with_filters(self, backend: Backend, verdict: Verdict) -> Verdict:
        """Say no for a backend that writes what the filters are to see first."""
        if not self._ways_out.filters or backend.streams:
            return verdict
        names = ", ".join(self._ways_out.filters)
        text = f"it writes the core to a disk before it can be filtered ({names})"
        return Verdict.no(*verdict.reasons, Reason(text, "backend='linux-elf'"))


def _refuse(name: str, error: Exception, *, required: bool) -> None:
    if required:
        raise Refused(f"collector {name!r} would fail: {describe_error(error)}") from error


def _undo(snapshot: Snapshot | None, dump: DumpState | None) -> None:
    """Leave nothing. That this fails too does not hide why it is done."""
    with suppress(Exception):
        if snapshot is not None:
            snapshot.close()
    with suppress(Exception):
        if dump is not None:
            dump.output.close()  # nothing was sent yet


def _check_identity() -> None:
    if os.name == "posix" and (os.geteuid(), os.getegid()) != (os.getuid(), os.getgid()):
        raise Refused(
            "the process runs with another user's rights than its own (set-user-ID)",
            remedy="dump a process whose real and effective user are the same",
        )


def start(**options: Unpack[Options]) -> Dump:
    """Dump this process; return as soon as it runs on. Options as for `Pipeline`."""
    return Pipeline(**options).start()


def create_core(**options: Unpack[Options]) -> Path:
    """Dump this process and return the path of the core. Options as for `Pipeline`."""
    return _path_of("raw", ("raw",), options)


def collect_core(**options: Unpack[Options]) -> Path:
    """Dump this process and return the path of its bundle. Options as for `Pipeline`."""
    return _path_of("archive", ("manifest", "archive"), options)


def _path_of(collector: str, collectors: Sequence[str], options: Options) -> Path:
    given: Options = {**options, "collectors": options.get("collectors") or collectors}
    return Pipeline(**given).run().path_of(collector)
