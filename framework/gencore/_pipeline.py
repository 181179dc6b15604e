"""The pipeline: choose a backend, check the surroundings, take the instant, start a worker."""

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Unpack

import attrs

from gencore import _loader
from gencore._dump import Dump
from gencore._options import Options
from gencore._worker import Worker
from gencore.annotations import with_standing
from gencore.backend import Backend, DumpRequest, Reason, Snapshot, Verdict
from gencore.collector import Collector, DumpInProgress
from gencore.errors import OutputError, Refused, Unsupported, UsageError
from gencore.exclusion import excluded_ranges
from gencore.observed import ObservedProcess
from gencore.output import Output, dump_name
from gencore.report import Failed, Pause, Phase, Report

__all__ = ["Pipeline", "ask", "collect_core", "create_core", "start"]

_instant: Final = threading.RLock()
"""One pause at a time. Reentrant: a signal handler may ask for a dump in the middle of another."""


@attrs.frozen
class _Choice:
    """A backend that is willing, and its verdict."""

    backend: Backend
    verdict: Verdict
    warnings: tuple[str, ...] = ()


class Pipeline:
    """Backend and collectors, chosen and loaded once and used for many dumps.

    Args:
        backend: A backend's name, or an object of it, or None for the one of highest priority
            that works here.
        collectors: Names of collectors, or callables that return a new one for each dump (a
            class, or ``functools.partial`` of it with options).
        directory: Where the artefacts go; None is ``GENCORE_DIRECTORY``, or else the current one.
        threads, content, timeout, annotations, with_dontdump, sources: see `DumpRequest`.

    Raises `UsageError` and `PluginError`.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        _check_options(options)
        self._directory = options.get("directory")
        self._request = DumpRequest(
            threads=options.get("threads", "auto"),
            content=options.get("content", "full"),
            timeout=options.get("timeout"),
            annotations=dict(options.get("annotations") or {}),  # the caller may change its own
            with_dontdump=options.get("with_dontdump", False),
            sources=options.get("sources", False),
        )
        self._plugins: list[_loader.LoadedPlugin] = []
        self._backends = self._load_backends(
            options.get("backend") or os.environ.get("GENCORE_BACKEND")
        )
        self._makers = self._load_collectors(options.get("collectors", ("manifest", "archive")))

    def start(self) -> Dump:
        """Take the instant, and return once the process runs on.

        Raises `Unsupported`, `Refused` and `CoreFailed`, with nothing left behind.
        """
        choice = self._choose()
        collectors = [make() for make in self._makers]
        directory = Path(self._directory or os.environ.get("GENCORE_DIRECTORY") or Path.cwd())
        _check_identity()
        created_at = datetime.now(UTC)
        output = Output(directory, dump_name(created_at, os.getpid()))
        try:
            if any(collector.makes_files for collector in collectors):
                _check_space(output.prepare(), choice.verdict)
            worker, dump, snapshot = self._take(choice, collectors, output, created_at)
        except BaseException:
            output.close()
            raise
        return Dump(
            name=dump.name,
            backend=dump.backend,
            pause=dump.pause,
            threads=lambda: dump.threads or snapshot.threads,
            stop=worker.stop,
            progress=worker.progress,
            future=worker.future,
        )

    def run(self) -> Report:
        """Make a dump and wait for its end."""
        return self.start().result()

    def _take(
        self, choice: _Choice, collectors: list[Collector], output: Output, created_at: datetime
    ) -> tuple[Worker, DumpInProgress, Snapshot]:
        process = ObservedProcess()
        annotations = with_standing(self._request.annotations)
        snapshot, pause, failed = self._pause(choice.backend, collectors, output, process)
        dump = DumpInProgress(
            name=output.name,
            created_at=created_at,
            request=attrs.evolve(self._request, annotations=annotations),
            backend=choice.backend.name,
            method=choice.backend.method,
            plugins=tuple(plugin.as_dict() for plugin in self._plugins),
            pause=pause,
            threads=(),
            output=output,
            python_files=process.python_files() if self._request.sources else (),
            packed=any(collector.packs for collector in collectors),
            phases=_phases_of(pause, created_at),
            failed=failed,
            warnings=list(choice.warnings),
        )
        worker = Worker(dump, snapshot, collectors, choice.verdict.core_size)
        try:
            worker.start()
        except RuntimeError as error:  # no more threads
            snapshot.close()
            raise Refused(
                f"no thread for the dump: {error}",
                remedy="raise the limit on processes (ulimit -u) or pids.max of the cgroup",
            ) from error
        return worker, dump, snapshot

    def _pause(
        self,
        backend: Backend,
        collectors: list[Collector],
        output: Output,
        process: ObservedProcess,
    ) -> tuple[Snapshot, Pause, list[Failed]]:
        """Do all that happens while the process waits.

        A collector that cannot observe is taken out of *collectors* and returned as failed.
        """
        with _instant:
            begin = time.perf_counter()
            if self._request.sources:
                process.python_threads()
            failed = _observe(collectors, process)
            observed = time.perf_counter()
            to_file = any(collector.keeps_core for collector in collectors)
            request = attrs.evolve(self._request, excluded=excluded_ranges())
            snapshot = backend.snapshot(request, output, to_file=to_file)
            end = time.perf_counter()
        phases = {"observe": observed - begin, **snapshot.phases}
        return snapshot, Pause(total=end - begin, phases=phases), failed

    def _load_backends(self, name: str | Backend | None) -> list[Backend]:
        if isinstance(name, Backend):
            return [name]
        loaded = [_loader.load_named("backend", name)] if name else _loader.load_all("backend")
        self._plugins += loaded
        return [plugin.plugin() for plugin in loaded if plugin.status == "ok"]

    def _load_collectors(
        self, collectors: Sequence[str | Callable[[], Collector]]
    ) -> list[Callable[[], Collector]]:
        if isinstance(collectors, str) or not collectors:
            raise UsageError(
                f"collectors={collectors!r} is not a list of collectors",
                remedy="give names, as in collectors=['raw']",
            )
        twice = {c for c in collectors if list(collectors).count(c) > 1}
        if twice:
            raise UsageError(f"collectors={collectors!r} names one more than once")
        return [self._load_collector(collector) for collector in collectors]

    def _load_collector(self, collector: str | Callable[[], Collector]) -> Callable[[], Collector]:
        if callable(collector):
            return collector
        if not isinstance(collector, str):
            raise UsageError(f"{collector!r} is neither the name nor the class of a collector")
        loaded = _loader.load_named("collector", collector)
        self._plugins.append(loaded)
        maker: Callable[[], Collector] = loaded.plugin
        return maker

    def _choose(self) -> _Choice:
        verdicts = {backend: ask(backend, self._request) for backend in self._backends}
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
        return _Choice(first, verdicts[first], tuple(self._broken()))

    def _broken(self) -> list[str]:
        broken = (p for p in self._plugins if p.status not in {"ok", "disabled"})
        return [f"{p.entry.family} {p.entry.name!r} was not loaded: {p.reason}" for p in broken]


def _observe(collectors: list[Collector], process: ObservedProcess) -> list[Failed]:
    failed = []
    for collector in list(collectors):
        try:
            collector.observe(process)
        except Exception as error:
            collectors.remove(collector)
            failed.append(Failed(collector.name, error))
    return failed


def ask(backend: Backend, request: DumpRequest) -> Verdict:
    """Return the backend's verdict; a probe that raises means no."""
    try:
        return backend.probe(request)
    except Exception as error:
        return Verdict.no(Reason(f"its probe raises {type(error).__name__}: {error}"))


_TYPES: Final = {
    "backend": (str, Backend, type(None)),
    "directory": (str, os.PathLike, type(None)),
    "annotations": (Mapping, type(None)),
}


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options.keys() - Options.__annotations__.keys():
        close = get_close_matches(name, Options.__annotations__, 1)
        raise UsageError(
            f"there is no option {name!r}", remedy=f"did you mean {close[0]!r}?" if close else None
        )
    for name, types in _TYPES.items():
        if not isinstance(options.get(name), types):
            raise UsageError(f"{name}={options[name]!r} is of the wrong type")


def _phases_of(pause: Pause, created_at: datetime) -> list[Phase]:
    """List the parts of the pause one after the other, which is how they happen."""
    phases, begin = [], created_at
    for name, seconds in pause.phases.items():
        phases.append(Phase(name=name, started_at=begin, seconds=seconds))
        begin += timedelta(seconds=seconds)
    return phases


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
