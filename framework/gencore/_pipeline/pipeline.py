"""The pipeline: choose a backend, check the surroundings, take the instant, start a worker."""

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Self, Unpack

import attrs

from gencore._listeners.announcer import Announcer
from gencore._listeners.spans import trace_ids
from gencore._listeners.told import announcers_for
from gencore._pipeline.dump import Dump
from gencore._pipeline.earlier_dumps import EarlierDumps
from gencore._pipeline.instant import note_huge_pages, observers_of_others, take_instant
from gencore._pipeline.outcome import note_failure
from gencore._pipeline.participant import Participant
from gencore._pipeline.room import check_room
from gencore._pipeline.selection import Selection
from gencore._pipeline.space import check_space, need
from gencore._pipeline.state import DumpState
from gencore._pipeline.stores import Stores
from gencore._pipeline.ways_out import WaysOut
from gencore._pipeline.worker import Worker
from gencore._plugins.catalogue import read_catalogue
from gencore._recorder.job import NoRecorder, Plan, plan_of
from gencore._runtime import standing
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.lifetime import Stay
from gencore._runtime.platform_agent import agent
from gencore._settings.mapping import options_from_mapping
from gencore._settings.options import Options
from gencore._settings.sources import resolve_settings
from gencore.annotations import with_standing
from gencore.backend import Backend, Snapshot
from gencore.errors import OutputError, Refused, Unsupported, UsageError
from gencore.huge_pages import HugePages
from gencore.naming import dump_id, dump_name, pattern_of
from gencore.output import Output
from gencore.report import Report, describe_error
from gencore.request import check_flag
from gencore.verdict import Prospect, Reason, Verdict

__all__ = ["Pipeline"]

_TOO_OLD = Reason(
    "it collapses no memory: it is of an earlier version", "upgrade gencore in the target"
)


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
        huge_pages: Whether its memory is first collapsed into huge pages, see `DumpRequest`.
        target, reason, fired: The process ID of another process to dump, and why; see
            `DumpRequest`.
        on_event: Called with each event of each dump, see `gencore.events`, in order and on a
            thread of that dump's own. A dump waits a second for it at its end, at most; its
            exceptions are logged.
        listeners: More of them: callables, or the names of installed ones.

    Raises `UsageError` and `PluginError`.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        settings = resolve_settings(options)
        self._settings = settings
        self._prepared: Plan | NoRecorder | None = None
        self._huge_pages: HugePages | None = None
        self._directory = settings.directory
        self._name = settings.name
        self._on_event = settings.on_event
        self._request = settings.request
        read = cache(read_catalogue)  # as long as this takes: later pipelines may find others
        self._selection = Selection(settings.backend, settings.collectors, read)
        self._ways_out = WaysOut(settings, read)
        if self._request.target.other is None:
            from gencore._recorder.starting import refuse  # which a recorder does not need

            with suppress(NoRecorder):  # loads what `start` needs: its files may be gone by then
                refuse(settings)

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

        The keys are those of the arguments, without ``on_event`` and ``fired``; a collector is a
        name, or a table with the fields of `CollectorSpec`; a backend, a destination and a filter
        in the same way. Raises `UsageError` with the place of each wrong value, such as
        ``collectors[1].timeout``, and `PluginError`.
        """
        return cls(**options_from_mapping(mapping))

    def start(self) -> Dump:
        """Take the instant, and return once the process runs on.

        The dump is made by a process of its own, the recorder, wherever one can be started:
        `Report.recorder`. After `prepare` this does not wait until that is ready.

        Raises `UsageError` if two backends have one priority, `Unsupported`, `Refused`,
        `PluginError`, `CoreFailed`, `TimedOut` if another distribution's backend hangs,
        `TargetUnavailable` of another process, and whatever a handler of a signal raises
        meanwhile, with nothing left behind.
        """
        try:
            return self._start_elsewhere()
        except NoRecorder as reason:
            return self.start_here(str(reason))

    def _start_elsewhere(self) -> Dump:
        """Let a recorder make the dump. Raises `NoRecorder`."""
        if self._request.target.other is not None:  # this process is the recorder, and no target
            raise NoRecorder
        if isinstance(self._prepared, NoRecorder):
            raise self._prepared
        from gencore._recorder.starting import start_by_recorder  # loaded already

        plan = self._prepared or plan_of(self._settings)
        return start_by_recorder(plan, huge_pages=self._huge_pages)

    def start_here(self, reason: str) -> Dump:
        """Like `start`, on a thread of this process; *reason* is why."""
        began = time.perf_counter()
        stay = Stay()
        dump: DumpState | None = None
        snapshot: Snapshot | None = None
        worker: Worker | None = None
        try:
            self._leave_destination_to_target()
            check_room(self._request.timeout)
            backend, verdict = self._choose()
            _check_identity()
            dump = self._begin(backend)
            stay.in_child(dump.output.close)
            participants = self._selection.make_participants(partial(note_failure, dump))
            self._refuse_observers(participants)
            dump.packed = any(participant.packs for participant in participants)
            files = dump.stores.are_files and any(p.makes_files for p in participants)
            dump.earlier.make_room(dump.output if files else None)
            if files:
                warnings = self._check_space(dump.output.prepare(), participants, backend, verdict)
                dump.warnings.extend(warnings)
                dump.output.refuse_rival()
            announcers = self._announcers(dump.name)
            collapsed = (
                self._collapse(self._request.timeout)
                if self._request.huge_pages
                else self._huge_pages
            )
            snapshot = take_instant(dump, backend, participants)
            dump.recorder_reason = reason or None
            if collapsed is not None or self._request.target.other is None:
                note_huge_pages(dump, collapsed)
            dump.call_seconds = time.perf_counter() - began
            worker = Worker(dump, snapshot, participants, verdict.core_size, announcers)
            handle = worker.handle()
            worker.start(stay)
        except BaseException:  # Ctrl-C too, at whatever line
            if worker is None or not worker.give_up():
                _undo(snapshot, dump)
                stay.end()
            raise
        return handle

    def prepare(self, *, huge_pages: bool = False, standby: bool = False) -> HugePages | None:
        """Do all that can be done beforehand, so that `start` takes little longer than its pause.

        A recorder loads and checks everything, as `check` does, and ends. What later dumps would
        still refuse, such as a disk that is full by then, is an error in their reports.

        With *standby* it does not end, but waits for the next dump, which then needs no new
        interpreter: it is complete some tenths of a second earlier, also if gencore's files were
        changed by then. Another one follows it. That is a process of about 30 MiB, with the user
        and the rights that this one has now: prepare once they are final, also Landlock's rules.
        If user, directory, environment or namespaces are others by the next dump, that gets a new
        recorder. `prepare` without *standby*, or the end of the pipeline, ends it.

        With *huge_pages* the memory of the process, by its agent if it is another one, is then
        collapsed into huge pages, which makes the pause of a dump that soon follows several times
        shorter. It takes about 0.3 s of CPU for each GiB, in steps of milliseconds for which other
        threads may have to wait, and stops where it would disturb: what is returned, and in the
        reports of later dumps, says how far it came. What the program writes while a dump lasts is
        in small pages again: prepare anew.

        Raises `UsageError`, what `check` raises, `Unsupported` where there are no huge pages, and
        `TargetUnavailable` if the target has no agent.
        """
        from gencore._recorder.starting import check_by_recorder

        check_flag("huge_pages", huge_pages)
        check_flag("standby", standby)
        if isinstance(self._prepared, Plan) and self._prepared.standby is not None:
            self._prepared.standby.close()
        try:
            self._prepared = check_by_recorder(self._settings, standby=standby)
        except NoRecorder as reason:
            self._prepared = reason
            self.check()
        if huge_pages:
            self._huge_pages = self._collapse_beforehand()
        return self._huge_pages if huge_pages else None

    def _collapse(self, timeout: float | None) -> HugePages | None:
        """Collapse the memory of this process; the backend has that of another one collapsed."""
        return agent().collapse_memory(timeout) if self._request.target.other is None else None

    def _collapse_beforehand(self) -> HugePages:
        """Collapse the memory of the target."""
        if self._request.target.other is None:
            return agent().collapse_memory(None)
        found = agent().collapse_memory_of(self._request.target, None)
        if found is None:
            raise Unsupported({"agent": Verdict.no(_TOO_OLD)})
        return found

    def check(self) -> str:
        """Raise what `start` would raise before the pause, or what would fail then already.

        A required collector that cannot be made, or that fails its own check, is `Refused`.
        Nothing is left behind. Returns the name of the backend that would be used.
        """
        return self.prospect().backend

    def prospect(self) -> Prospect:
        """Check as `check` does; return what a dump would take."""
        self._leave_destination_to_target()
        check_room(self._request.timeout)
        backend, verdict = self._choose()
        _check_identity()
        way = self._ways_out.make()
        participants = self._selection.make_participants(_refuse)
        self._refuse_observers(participants)
        found = Prospect(backend=backend.name, core_size=verdict.core_size)
        if way.outgoing is not None or not any(p.makes_files for p in participants):
            return found
        with Output(way.directory or self.directory, "check") as output:
            warnings = self._check_space(output.prepare(), participants, backend, verdict)
            sizes = need(participants, verdict.core_size or 0, streams=backend.streams)
            usual, largest = sizes if verdict.core_size is not None else (None, None)
            return attrs.evolve(
                found,
                directory=Path(way.directory or self.directory).absolute(),
                usual_size=usual,
                largest_size=largest,
                warnings=tuple(warnings),
            )

    def _leave_destination_to_target(self) -> None:
        """Raise `NoRecorder` in a recorder if the destination uses something of its target."""
        name = self._ways_out.in_process
        if self._request.target.handover is not None and name is not None:
            raise NoRecorder(f"destination {name!r} uses something of the process itself")

    def _refuse_observers(self, participants: list[Participant]) -> None:
        """Raise `NoRecorder` in a recorder if a collector must be called in its target."""
        if self._request.target.handover is not None and (
            names := observers_of_others(participants)
        ):
            raise NoRecorder(f"collector {names[0]!r} observes the process itself")

    def run(self) -> Report:
        """Make a dump and wait for its end."""
        return self.start().result()

    def _begin(self, backend: Backend) -> DumpState:
        name, own_id, created_at, trace = self._identity()
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
            trace=trace,
            warnings=list(self._selection.warnings),
        )

    def _identity(self) -> tuple[str, str, datetime, tuple[str, str] | None]:
        """Return the dump's name, ID, time and trace: of a recorder, as its target has said."""
        handover = self._request.target.handover
        if handover is not None:
            return handover.name, handover.id, handover.created_at, handover.trace
        created_at = datetime.now(UTC)
        own_id = dump_id(created_at)
        name = dump_name(self._name, created_at, own_id, self._request.target.other)
        return name, own_id, created_at, trace_ids()

    def _announcers(self, name: str) -> list[Announcer]:
        return announcers_for(name, [*self._ways_out.listeners, *filter(None, [self._on_event])])

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
        if self._request.target.handover is not None:
            _leave_to_target([backend for backend, _ in answered], willing)
        if not willing:
            answers = {backend.name: verdict for backend, verdict in verdicts}
            raise Unsupported({**answers, **self._selection.passed_over(self._request)})
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


def _leave_to_target(asked: list[Backend], willing: list[tuple[Backend, Verdict]]) -> None:
    """Raise `NoRecorder` if the target might choose a backend that a recorder cannot use."""
    best = max((backend.priority for backend, _ in willing), default=None)
    others = [b for b in asked if not (b.takes_handover or b.dumps_others)]
    left = [b for b in others if best is None or b.priority >= best]
    if best is None and len(left) > 1:  # most are of other platforms
        raise NoRecorder("no backend that a recorder can use works here")
    if left:
        raise NoRecorder(f"backend {left[0].name!r} takes its snapshot in the process itself")


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
