"""Makes an OpenTelemetry span of each finished dump, with one below it for each of its stages.

Only if the application itself has loaded the package ``opentelemetry``: otherwise nothing exports
the spans. They are made once the dump has ended, with the real times of its stages, below the
span that was current when the dump was requested.
"""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from gencore._version import __version__
from gencore.events import DumpFinished, Event, Listener
from gencore.report import Report, Stage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

__all__ = ["span_listener", "trace_ids"]

_NS: Final = 1_000_000_000


def trace_ids() -> tuple[str, str] | None:
    """Return trace ID and span ID of the current span, in hexadecimal; None if there is none."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def span_listener() -> Listener | None:
    """Return a listener that makes the spans below the current one; None without OpenTelemetry.

    To be called on the thread that requests the dump.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import context, trace

    parent = context.get_current()
    tracer = trace.get_tracer("gencore", __version__)

    def listen(event: Event) -> None:
        if isinstance(event, DumpFinished) and event.report is not None:
            _make_spans(tracer, parent, event.report)

    return listen


def _make_spans(tracer: "Tracer", parent: "Context", report: Report) -> None:
    from opentelemetry import trace

    begin = min((_ns(stage.started_at) for stage in report.stages), default=None)
    span = tracer.start_span("gencore.dump", parent, start_time=begin, attributes=_facts(report))
    if report.result == "failed":
        span.set_status(trace.StatusCode.ERROR, report.failed[0].reason)
    below = trace.set_span_in_context(span, parent)
    end = begin
    for stage in report.stages:
        started = _ns(stage.started_at)
        ended = started + round(stage.seconds * _NS)
        child = tracer.start_span(f"gencore.{stage.name}", below, start_time=started)
        if stage.error is not None:
            child.set_status(trace.StatusCode.ERROR, stage.error)
            if stage.traceback is not None:
                child.add_event("exception", _exception(stage), timestamp=ended)
        child.end(ended)
        end = max(end or ended, ended)
    span.end(end)


def _exception(stage: Stage) -> dict[str, Any]:
    """Return the attributes that OpenTelemetry's semantic conventions give to an exception."""
    return {
        "exception.message": stage.error,
        "exception.stacktrace": stage.traceback,
    }


def _facts(report: Report) -> dict[str, Any]:
    return {
        "gencore.dump.name": report.name,
        "gencore.dump.result": report.result,
        "gencore.dump.backend": report.backend,
        "gencore.dump.pause": report.pause.total,
        "gencore.dump.threads": len(report.threads),
        "gencore.dump.size": sum(artifact.size for artifact in report.artifacts),
        "gencore.dump.problems": [f"{part.part}: {part.reason}" for part in report.problems],
    }


def _ns(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000) * 1000
