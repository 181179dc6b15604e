"""The result of a dump: the report, its artefacts, and the parts that are missing."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, cast

import attrs

from gencore._instants import rfc3339
from gencore._runtime.foreign_errors import text_of, type_name
from gencore.errors import ExitCode, GencoreError
from gencore.huge_pages import HugePages
from gencore.process import ThreadRecord

__all__ = [
    "Artifact",
    "DumpIncomplete",
    "Failed",
    "Pause",
    "Progress",
    "Removal",
    "Report",
    "Result",
    "Skipped",
    "Stage",
]

Result = Literal["complete", "partial", "failed"]
_LONGEST_REASON: Final = 4000
"""Characters of an error's message: it goes into the report, the manifest and the log."""


@attrs.frozen(kw_only=True)
class Pause:
    """The time during which the process could not run because of the dump, in seconds."""

    total: float
    phases: Mapping[str, float] = attrs.field(factory=dict)
    """Named parts of it. Their sum is less than the total, which includes the time between."""


@attrs.frozen(kw_only=True)
class Stage:
    """One step of a dump: a part of the pause, the core, or one collector."""

    name: str
    started_at: datetime
    """UTC."""
    seconds: float
    error: str | None = None
    """Why it failed; None if it did not."""
    traceback: str | None = attrs.field(default=None, repr=False)
    """Where it failed, in Python's words; not in `Report.as_dict`."""


@attrs.frozen(kw_only=True)
class Artifact:
    """One file that a dump produced."""

    name: str
    """What follows the dump's name: ``core``, ``tar.gz``, ``manifest.json``."""
    size: int
    """Bytes."""
    sha256: str | None = None
    """Hexadecimal; None if the bytes never passed through gencore: a core that was moved."""
    collector: str = ""
    path: Path | None = None
    """Where it is; None while the dump is in progress, for what went into a bundle, for what was
    `streamed`, and if a destination has no paths."""
    url: str | None = None
    """Where a destination that has no paths says that it is."""
    filters: tuple[str, ...] = ()
    """What its bytes have passed; `size` and `sha256` are of what came out."""
    streamed: bool = False
    """Whether it went somewhere other than a file in the output directory."""


@attrs.frozen
class Skipped:
    """A part that was left out."""

    part: str
    reason: str


@attrs.frozen
class Failed:
    """A part that was tried and failed."""

    part: str
    error: Exception
    traceback: str | None = attrs.field(default=None, repr=False)
    """Where it failed, in Python's words; not in `Report.as_dict`."""

    @property
    def reason(self) -> str:
        """What the error says, with its type unless it is gencore's own, and with its remedy."""
        return describe_error(self.error)


def describe_error(error: BaseException) -> str:
    """Return what an error says, with its type unless it is gencore's own; cut if it is long."""
    text = text_of(error)
    if issubclass(type(error), MemoryError):
        what = "the process can get no more memory: see ulimit -d and -v, and the container's"
        text = f"{what}: {text}" if text else what
    elif not issubclass(type(error), GencoreError):
        text = f"{type_name(error)}: {text}" if text else type_name(error)
    more = len(text) - _LONGEST_REASON
    return text if more <= 0 else f"{text[:_LONGEST_REASON]} ... ({more:,} more characters)"


@attrs.frozen(kw_only=True)
class Removal:
    """Something of an earlier dump that a dump removed, or failed to remove."""

    path: Path
    size: int
    """Bytes on the disk."""
    reason: str
    """The limit, such as ``keep_count=5``, or that a dump that was killed has left it."""
    error: str | None = None
    """Why it is still there; None if it is not."""

    def __str__(self) -> str:
        """Return what was done, for logs and warnings."""
        done = "removed" if self.error is None else "not removed"
        problem = "" if self.error is None else f": {self.error}"
        return f"{done} {self.path} ({self.size / 2**20:,.1f} MiB, {self.reason}){problem}"


@attrs.frozen
class Progress:
    """Where a dump is."""

    stage: str
    """As in the events, see `gencore.events`; ``done`` once the dump has ended."""
    done: int = 0
    """Bytes of the core that are through the stage ``core``."""
    total: int | None = None
    """Bytes of the whole core; estimated until it is read, None if unknown."""


@attrs.frozen(kw_only=True)
class Report:
    """The outcome of a dump."""

    result: Result
    """``complete``, ``partial`` (something is in `failed` or `skipped`), or ``failed`` (no core,
    or nothing was saved)."""
    name: str
    """The dump's name, with which the names of its artefacts begin."""
    id: str = ""
    """The dump's own UUID of version 7, as in the manifest."""
    backend: str
    recorder: Literal["process", "thread"] = "thread"
    """Where the dump was made: in a process of its own, or on a thread of the dumped one."""
    recorder_reason: str | None = None
    """Why it was made on a thread."""
    call_seconds: float | None = None
    """How long the call that started it took; of another process's dump, None."""
    pause: Pause
    huge_pages: HugePages | None = None
    """What was collapsed for this dump, if that was asked for: `Pipeline.prepare`."""
    stages: tuple[Stage, ...] = ()
    """The steps in the order in which they ended, the parts of the pause first."""
    artifacts: tuple[Artifact, ...] = ()
    threads: tuple[ThreadRecord, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    """``core`` first, then collectors in the order in which they failed, then ``libraries``."""
    warnings: tuple[str, ...] = ()
    removed: tuple[Removal, ...] = ()
    """What this dump removed of earlier ones: leftovers, and what retention does not keep."""

    @property
    def problems(self) -> tuple[Failed | Skipped, ...]:
        """Everything that is missing, failures first."""
        return (*self.failed, *self.skipped)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code for this result.

        A failed dump has the exit code of the first error in `failed`.
        """
        if self.result == "failed":
            error = self.failed[0].error if self.failed else None
            return error.exit_code if isinstance(error, GencoreError) else ExitCode.FAILED
        return ExitCode.COMPLETE if self.result == "complete" else ExitCode.PARTIAL

    def path_of(self, collector: str) -> Path:
        """Return the path of the one artefact of *collector*.

        Raises the dump's own error if nothing was saved, and `DumpIncomplete` if the artefact is
        missing or the core in it is incomplete.
        """
        core_is_whole = all(part.part != "core" for part in self.failed)
        for artifact in self.artifacts:
            if artifact.collector == collector and artifact.path and core_is_whole:
                return artifact.path
        if self.failed and not self.artifacts:
            raise self.failed[0].error
        raise DumpIncomplete(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON knows it: paths and errors become text."""
        return attrs.asdict(self, filter=_is_for_json, value_serializer=_to_json)


class DumpIncomplete(GencoreError):
    """The one artefact that the call returns is missing or incomplete.

    ``report`` lists what was saved all the same.
    """

    exit_code = ExitCode.PARTIAL

    def __init__(self, report: Report) -> None:
        reasons = "; ".join(f"{part.part}: {part.reason}" for part in report.problems)
        super().__init__(f"the dump is {report.result}: {reasons or _what_there_is(report)}")
        self.report = report


def _what_there_is(report: Report) -> str:
    """Say what was saved, and where, for those who look for something else."""
    places = (f"{saved.collector} has {saved.path or saved.url}" for saved in report.artifacts)
    return ", ".join(places) or "it has no artefact"


def _is_for_json(attribute: "attrs.Attribute[Any]", _: object) -> bool:
    return attribute.name != "traceback"


def _to_json(_: object, __: object, value: object) -> object:
    if issubclass(type(value), Exception):
        return {"type": type_name(value), "message": text_of(cast("Exception", value))}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    return value
