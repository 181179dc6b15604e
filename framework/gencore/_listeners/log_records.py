"""Writes the events of dumps as structured records of the logger ``gencore``.

Every record has `gencore_event` (``stage-started``, ``stage-finished``, ``dump-finished``,
``removal``) and `gencore_dump`, the dump's name, as attributes of its `logging.LogRecord`, for
formatters to use.
`docs/reference/logging.md` lists the other attributes, and the levels.
"""

import logging
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Final

import attrs

from gencore.events import DumpFinished, Event, StageFinished, StageStarted
from gencore.report import Removal

__all__ = ["write_record", "write_removal"]

_log: Final = logging.getLogger("gencore")
_log.addHandler(logging.NullHandler())  # silent unless the application configures logging
_LEVELS: Final = {
    "complete": logging.INFO,
    "cancelled": logging.INFO,
    "partial": logging.WARNING,
    "failed": logging.ERROR,
    "error": logging.ERROR,
}


def write_record(event: Event) -> None:
    """Write one event. Progress is not written."""
    write = partial(_write, _NAMES.get(type(event), ""), event.dump)
    match event:
        case StageStarted(stage=stage):
            write(logging.DEBUG, f"{stage} started", stage=stage)
        case StageFinished(stage=stage, seconds=seconds, error=error):
            how = "finished" if error is None else "failed"
            text = f"{stage} {how} after {seconds:.3f} s{'' if error is None else f': {error}'}"
            level = logging.DEBUG if error in {None, "cancelled"} else logging.WARNING
            trace = event.traceback
            write(level, text, trace=trace, stage=stage, seconds=seconds, error=error)
        case DumpFinished():
            facts = _end_of(event)
            text = "; ".join((facts["result"], *facts["problems"]))
            write(_LEVELS[facts["result"]], text, trace=_tracebacks(event), **facts)


def write_removal(dump: str, removal: Removal) -> None:
    """Write what *dump* has removed, or failed to."""
    level = logging.INFO if removal.error is None else logging.WARNING
    facts = {**attrs.asdict(removal), "path": str(removal.path)}
    _write("removal", dump, level, str(removal), **facts)


def _tracebacks(event: DumpFinished) -> str | None:
    """Return where the parts failed, of which no stage has told."""
    if event.report is None:
        return None
    told = {stage.name for stage in event.report.stages if stage.traceback}
    failed = (f for f in event.report.failed if f.part not in told and f.traceback)
    return "\n".join(f.traceback or "" for f in failed) or None


def _end_of(event: DumpFinished) -> dict[str, Any]:
    report = event.report
    if report is None:
        cancelled = isinstance(event.error, CancelledError)
        return {
            "result": "cancelled" if cancelled else "error",
            "problems": [] if cancelled else [repr(event.error)],
        }
    return {
        "result": report.result,
        "backend": report.backend,
        "pause": report.pause.total,
        "artifacts": [str(artifact.path) for artifact in report.artifacts if artifact.path],
        "problems": [f"{part.part}: {part.reason}" for part in report.problems],
    }


_NAMES: Final = {
    StageStarted: "stage-started",
    StageFinished: "stage-finished",
    DumpFinished: "dump-finished",
}


def _write(
    name: str, dump: str, level: int, text: str, *, trace: str | None = None, **facts: Any
) -> None:
    fields = {"event": name, "dump": dump, **facts}
    extra = {f"gencore_{field}": value for field, value in fields.items()}
    if trace is not None and _log.isEnabledFor(level):
        record = _log.makeRecord(
            _log.name, level, __file__, 0, "dump %s: %s", (dump, text), None, extra=extra
        )
        record.exc_text = trace  # as `logging` would format it; the frames themselves are gone
        _log.handle(record)
    else:
        _log.log(level, "dump %s: %s", dump, text, extra=extra)
