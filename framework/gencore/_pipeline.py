"""The pipeline: choose a backend, check the surroundings, take the instant, start a worker."""

import errno
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, Unpack

import attrs

from gencore._announcer import Announcer
from gencore._dump import Dump
from gencore._instant import take_instant
from gencore._log_records import write_record
from gencore._members import Member
from gencore._options import Options
from gencore._selection import Selection, ask_all
from gencore._settings import options_from_mapping, with_defaults
from gencore._spans import span_listener, trace_ids
from gencore._stages import note_failure
from gencore._worker import Worker
from gencore.annotations import with_standing
from gencore.backend import Backend, DumpRequest, Snapshot, Verdict
from gencore.collector import DumpInProgress
from gencore.errors import OutputError, Refused, Unsupported, UsageError
from gencore.naming import DEFAULT_NAME, check_template, dump_id, dump_name
from gencore.output import Output
from gencore.report import Report

__all__ = ["Pipeline", "collect_core", "create_core", "start"]


class Pipeline:
    """Backend and collectors, chosen and loaded once and used for many dumps.

    What is not given, or None, is what the file named by ``GENCORE_CONFIG`` says, or the default.

    Args:
        backend: A backend's name, or an object of it; default: ``GENCORE_BACKEND``, or else the
            one of highest priority that works here.
        collectors: Names of collectors, callables that return a new one for each dump, or a
            `CollectorSpec` of either; default: ``manifest`` and ``archive``.
        directory: Where the artefacts go; default: ``GENCORE_DIRECTORY``, or the current one.
        name: A template for the names of the dumps, see `gencore.naming`.
        threads, content, timeout, annotations, with_dontdump, sources: see `DumpRequest`.
        on_event: Called with each event of each dump, see `gencore.events`, in order and on a
            thread of its own. It delays no dump; its exceptions are logged.

    Raises `UsageError` and `PluginError`.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        options = with_defaults(options)
        self._directory = options.get("directory")
        self._name = options.get("name") or DEFAULT_NAME
        check_template(self._name)
        self._on_event = options.get("on_event")
        self._request = DumpRequest(
            threads=options.get("threads", "auto"),
            content=options.get("content", "full"),
            timeout=options.get("timeout"),
            annotations=dict(options.get("annotations") or {}),  # the caller may change its own
            with_dontdump=options.get("with_dontdump", False),
            sources=options.get("sources", False),
        )
        self._selection = Selection(
            options.get("backend"), options.get("collectors", ("manifest", "archive"))
        )

    @property
    def directory(self) -> Path:
        """Where the artefacts go."""
        return Path(self._directory or Path.cwd())

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Build a pipeline from data: JSON, TOML, YAML that was read already.

        The keys are those of the arguments, without ``on_event``; a collector is a name, or a
        table with the fields of `CollectorSpec`. Raises `UsageError` with the path of each wrong
        value, such as ``$.collectors[1].timeout``, and `PluginError`.
        """
        return cls(**options_from_mapping(mapping))

    def start(self) -> Dump:
        """Take the instant, and return once the process runs on.

        Raises `Unsupported`, `Refused` and `CoreFailed`, with nothing left behind.
        """
        backend, verdict = self._choose()
        members, failed = self._selection.make_collectors()
        _check_identity()
        created_at = datetime.now(UTC)
        own_id = dump_id(created_at)
        name = dump_name(self._name, created_at, own_id)
        output = Output(self.directory, name)
        dump = self._begin(backend, members, output, created_at, own_id)
        for part, required in failed:
            note_failure(dump, part.part, part.error, required=required)
        try:
            if any(member.collector.makes_files for member in members):
                _check_space(output.prepare(), verdict)
                _check_name(output)
            snapshot = take_instant(dump, backend, members)
            return self._start_worker(dump, snapshot, members, verdict.core_size)
        except BaseException:
            output.close()
            raise

    def run(self) -> Report:
        """Make a dump and wait for its end."""
        return self.start().result()

    def _begin(
        self,
        backend: Backend,
        members: list[Member],
        output: Output,
        created_at: datetime,
        own_id: str,
    ) -> DumpInProgress:
        return DumpInProgress(
            name=output.name,
            id=own_id,
            created_at=created_at,
            request=attrs.evolve(
                self._request, annotations=with_standing(self._request.annotations)
            ),
            backend=backend.name,
            method=backend.method,
            plugins=self._selection.plugins,
            output=output,
            packed=any(member.collector.packs for member in members),
            trace=trace_ids(),
            warnings=list(self._selection.warnings),
        )

    def _start_worker(
        self,
        dump: DumpInProgress,
        snapshot: Snapshot,
        members: list[Member],
        core_size: int | None,
    ) -> Dump:
        listeners = [write_record, span_listener(), self._on_event]
        announcer = Announcer(dump.name, [one for one in listeners if one is not None])
        worker = Worker(dump, snapshot, members, core_size, announcer)
        try:
            worker.start()
        except RuntimeError as error:  # no more threads
            snapshot.close()
            raise Refused(
                f"no thread for the dump: {error}",
                remedy="raise the limit on processes (ulimit -u) or pids.max of the cgroup",
            ) from error
        return Dump(
            name=dump.name,
            backend=dump.backend,
            pause=dump.pause,
            threads=lambda: dump.threads or snapshot.threads,
            stop=worker.stop,
            progress=worker.progress,
            future=worker.future,
        )

    def _choose(self) -> tuple[Backend, Verdict]:
        verdicts = ask_all(self._selection.backends, self._request)
        willing = [backend for backend, verdict in verdicts.items() if verdict.ok]
        if not willing:
            raise Unsupported({backend.name: verdict for backend, verdict in verdicts.items()})
        best = max(backend.priority for backend in willing)
        first, *others = [backend for backend in willing if backend.priority == best]
        if others:
            names = ", ".join(backend.name for backend in (first, *others))
            raise UsageError(
                f"the backends {names} have the same priority", remedy="name one: backend=..."
            )
        return first, verdicts[first]


def _check_identity() -> None:
    if os.name == "posix" and (os.geteuid(), os.getegid()) != (os.getuid(), os.getgid()):
        raise Refused(
            "the process runs with another user's rights than its own (set-user-ID)",
            remedy="dump a process whose real and effective user are the same",
        )


def _check_space(output: Output, verdict: Verdict) -> None:
    need = verdict.core_size
    if need is not None and output.free < need:
        raise OutputError(
            str(output.directory),
            errno.ENOSPC,
            f"the core may need {need / 2**20:,.0f} MiB; {output.free / 2**20:,.0f} MiB are free",
            remedy="free some space, name another directory, or ask for content='private'",
        )


def _check_name(output: Output) -> None:
    if output.is_taken():
        raise OutputError(
            str(output.directory / output.name),
            errno.EEXIST,
            "a dump of this name is there already",
            remedy="put {id} or {time} and {seq} into the name: no file is ever replaced",
        )


def start(**options: Unpack[Options]) -> Dump:
    """Dump this process; return as soon as it runs on. Options as for `Pipeline`."""
    return Pipeline(**options).start()


def create_core(**options: Unpack[Options]) -> Path:
    """Dump this process and return the path of the core. Options as for `Pipeline`."""
    return _path_of("raw", {"collectors": ("raw",), **options})


def collect_core(**options: Unpack[Options]) -> Path:
    """Dump this process and return the path of its bundle. Options as for `Pipeline`."""
    return _path_of("archive", {"collectors": ("manifest", "archive"), **options})


def _path_of(collector: str, options: Options) -> Path:
    return Pipeline(**options).run().path_of(collector)
