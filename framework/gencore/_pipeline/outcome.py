"""What becomes of a dump: its failures as they are noted, its result, and its report."""

from typing import Final

from gencore._pipeline.state import DumpState
from gencore._runtime.foreign_errors import forget_frames, traceback_of
from gencore.report import Artifact, Failed, Report, Result

__all__ = ["make_report", "note_failure", "result_of"]

_RANKS: Final = {"core": 0, "libraries": 2}
"""Which failures come first and last in a report: the first decides the exit code."""


def note_failure(dump: DumpState, part: str, error: Exception, *, required: bool = True) -> None:
    """Put a failure into the report: of an optional part, it is a warning."""
    failed = Failed(part, error, traceback_of(error))
    forget_frames(error)
    if required:
        dump.failed.append(failed)
    else:
        dump.tolerated.append(failed)
        dump.warnings.append(f"optional collector {part!r} failed: {failed.reason}")


def result_of(dump: DumpState, artifacts: tuple[Artifact, ...]) -> Result:
    """Return how a dump ended that has saved *artifacts*."""
    lacking = bool(dump.failed or dump.skipped)
    if dump.core is None or (not artifacts and (lacking or dump.tolerated)):
        return "failed"
    return "partial" if lacking else "complete"


def make_report(dump: DumpState, result: Result, artifacts: tuple[Artifact, ...] = ()) -> Report:
    """Sum a dump up."""
    failed = dump.failed if artifacts else [*dump.failed, *dump.tolerated]
    return Report(
        result=result,
        name=dump.name,
        id=dump.id,
        backend=dump.backend,
        recorder="thread" if dump.request.target.other is None else "process",
        recorder_reason=dump.recorder_reason,
        call_seconds=dump.call_seconds,
        pause=dump.pause,
        huge_pages=dump.huge_pages,
        stages=tuple(dump.stages),
        artifacts=artifacts,
        threads=dump.threads,
        skipped=tuple(dump.skipped),
        failed=tuple(sorted(failed, key=lambda failure: _RANKS.get(failure.part, 1))),
        warnings=(*dump.warnings, *dump.earlier.warnings),
        removed=tuple(dump.earlier.removed),
    )
