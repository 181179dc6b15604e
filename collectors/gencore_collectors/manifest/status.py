"""The sections ``trigger`` and ``status``: what caused the dump, and how it went so far."""

import os
from datetime import UTC, datetime
from typing import Any

import attrs

from gencore import DumpInProgress, Report
from gencore.report import Result, Stage

__all__ = ["rfc3339", "section", "trigger"]


def section(dump: DumpInProgress) -> dict[str, Any]:
    """Return ``status``, as far as it is known when the manifest is written."""
    result = _result(dump)
    return {
        "result": result,
        "exit_code": _exit_code(dump, result),
        "pause_ms": _milliseconds(dump.pause.total),
        "huge_pages": dump.huge_pages and attrs.asdict(dump.huge_pages),
        "stages": [_stage(stage) for stage in dump.stages],
        "failed": [{"part": part.part, "reason": part.reason} for part in dump.failed],
        "skipped": [attrs.asdict(part) for part in dump.skipped],
        "warnings": list(dump.warnings),
        "shortened": [],
    }


def trigger(dump: DumpInProgress) -> dict[str, Any]:
    """Return ``trigger``: who asked for it, and what they said."""
    target = dump.request.target
    other = target.other is not None and target.handover is None  # its recorder was not asked
    fired = dump.request.fired
    trace_id, span_id = dump.trace or (None, None)
    return {
        "kind": fired.on if fired else "request" if other else "api",
        "reason": dump.request.reason,
        "signal": fired.signal if fired else None,
        "threshold": fired.threshold if fired else None,
        "measured": fired.measured if fired else None,
        "unit": fired.unit if fired else None,
        "requested_by": _requester() if other else None,
        "trace_id": trace_id,
        "span_id": span_id,
    }


def _requester() -> dict[str, Any]:
    return {"pid": os.getpid(), "uid": os.getuid()}


def rfc3339(instant: datetime) -> str:
    """Return an instant in UTC, always with microseconds, so that texts sort as instants do."""
    text = instant.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _result(dump: DumpInProgress) -> Result:
    if dump.core is None:
        return "failed"
    return "partial" if dump.failed or dump.skipped else "complete"


def _exit_code(dump: DumpInProgress, result: Result) -> int:
    """Ask a report that ends here, so that there is one table of exit codes."""
    report = Report(
        result=result,
        name=dump.name,
        backend=dump.backend,
        pause=dump.pause,
        failed=tuple(dump.failed),
    )
    return report.exit_code


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "started_at": rfc3339(stage.started_at),
        "duration_ms": _milliseconds(stage.seconds),
        "status": "ok" if stage.error is None else "failed",
        "error": stage.error,
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)
