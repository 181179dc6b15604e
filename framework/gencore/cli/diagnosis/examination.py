"""Judges a dump that might be made: whether it would work, by which backend, and what is near."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from gencore._pipeline.pipeline import Pipeline
from gencore._pipeline.selection import Selection, ask
from gencore._plugins.catalogue import faults_of_policy
from gencore._settings.options import Options
from gencore._settings.sources import resolve_settings
from gencore.arming import find_target
from gencore.cli.diagnosis import access, limits, pages, place, readers
from gencore.cli.diagnosis.row import Case, Row
from gencore.errors import (
    ExitCode,
    GencoreError,
    PluginError,
    TargetUnavailable,
    Unsupported,
    UsageError,
)
from gencore.request import DumpRequest
from gencore.target import Target
from gencore.verdict import Reason, Verdict

__all__ = ["Opinion", "examine"]

_CHECKS: Final[tuple[Callable[[Case], Iterable[Row]], ...]] = (
    access.agents,
    access.ptrace,
    access.confinement,
    place.room,
    place.writers,
    place.file_system,
    limits.file_size,
    limits.address_space,
    limits.descriptors,
    limits.processes,
    limits.memory,
    pages.small_pages,
    readers.readers,
)
"""Each yields what it has found, in the order in which it is shown."""


@attrs.frozen(kw_only=True)
class Opinion:
    """What was found."""

    case: Case
    refusal: GencoreError | None
    """Why a dump would be refused."""
    backends: Mapping[str, Verdict]
    """The answers of all that were asked, by name."""
    rows: tuple[Row, ...]
    faults_of_policy: tuple[Reason, ...]

    @property
    def exit_code(self) -> int:
        """That with which the dump would be refused, or 0."""
        return self.refusal.exit_code if self.refusal else ExitCode.COMPLETE

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why not, each with its remedy, and another way if there is one."""
        ways = [row for row in self.rows if row.name == access.PTRACE_ROW and row.value]
        return (*self._refusals, *(Reason("it can be traced instead", row.remedy) for row in ways))

    @property
    def _refusals(self) -> tuple[Reason, ...]:
        """The reasons of the refusal; if no backend works, those of each that could."""
        if not isinstance(self.refusal, Unsupported):
            return (Reason(self.refusal.message, self.refusal.remedy),) if self.refusal else ()
        every = [
            Reason(f"{name}: {reason.text}", reason.remedy)
            for name, verdict in self.refusal.verdicts.items()
            for reason in verdict.reasons
        ]
        return tuple(reason for reason in every if reason.remedy) or tuple(every)


def examine(named: str | None, directory: str | None) -> Opinion:
    """Judge a dump of the process that *named* means, or else of a program by itself."""
    options: Options = {} if directory is None else {"directory": directory}
    case, refusal = Case(target=Target(), directory=Path(directory or ".").absolute()), None
    try:
        if named is not None:
            case = attrs.evolve(case, target=find_target(named))
            options["target"] = case.target  # type: ignore[typeddict-item]  # others have pids
        pipeline = Pipeline(**options)
        case = attrs.evolve(case, directory=pipeline.directory.absolute())
        prospect = pipeline.prospect()
        case = attrs.evolve(case, prospect=prospect, directory=prospect.directory)
    except GencoreError as error:
        refusal = error
    return Opinion(
        case=case,
        refusal=refusal,
        backends=_backends(DumpRequest(target=case.target)),
        rows=tuple(row for check in _CHECKS for row in check(case)),
        faults_of_policy=tuple(faults_of_policy()),
    )


def _backends(request: DumpRequest) -> Mapping[str, Verdict]:
    """Return the answers of those that are chosen from by default, and of the named one."""
    return {**_answers(Selection(None, ()), request), **_answer_of_named(request)}


def _answers(selection: Selection, request: DumpRequest) -> Mapping[str, Verdict]:
    asked = {
        candidate.backend.name: _answer(partial(ask, candidate, request))
        for candidate in selection.backends
    }
    return {**asked, **selection.passed_over(request)}


def _answer(asking: Callable[[], Verdict]) -> Verdict:
    try:
        return asking()
    except TargetUnavailable as error:
        return Verdict.no(Reason(error.message, error.remedy))


def _answer_of_named(request: DumpRequest) -> Mapping[str, Verdict]:
    """Return the answer of the backend of the settings, if they name one and are right."""
    try:
        backend = resolve_settings({}).backend
        return {} if backend is None else _answers(Selection(backend, ()), request)
    except PluginError as error:
        return {error.name: Verdict.no(Reason(error.reason, error.remedy))}
    except UsageError:
        return {}
