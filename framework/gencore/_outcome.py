"""What becomes of a dump: its failures as they are noted, and its report."""

from gencore.collector import DumpInProgress
from gencore.report import Artifact, Failed, Report, Result

__all__ = ["make_report", "note_failure"]


def note_failure(dump: DumpInProgress, part: str, error: Exception, *, required: bool) -> None:
    """Put a failure into the report: of an optional part, it is a warning."""
    failed = Failed(part, error)
    if required:
        dump.failed.append(failed)
    else:
        dump.warnings.append(f"optional collector {part!r} failed: {failed.reason}")


def make_report(
    dump: DumpInProgress, result: Result, artifacts: tuple[Artifact, ...] = ()
) -> Report:
    """Sum a dump up."""
    return Report(
        result=result,
        name=dump.name,
        backend=dump.backend,
        pause=dump.pause,
        phases=tuple(dump.phases),
        artifacts=artifacts,
        threads=dump.threads,
        skipped=tuple(dump.skipped),
        failed=tuple(dump.failed),
        warnings=tuple(dump.warnings),
    )
