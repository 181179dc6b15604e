"""What a dump tells while it goes on: events, log records, spans."""

import asyncio
import itertools
import json
import logging
import threading
from concurrent.futures import CancelledError
from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import gencore
from gencore._listeners.announcer import Announcer
from gencore.events import DumpFinished, StageFinished, StageProgress, StageStarted
from gencore.testing import SimulatedBackend


class Raises(gencore.Collector):
    """Fails at the end."""

    name = "raises"
    api_version = (1, 0)

    def finish(self, _dump):
        raise OSError("no")


def dump(tmp_path, events, *collectors, **options):
    pipeline = gencore.Pipeline(
        collectors=collectors or ("manifest", "archive"),
        directory=tmp_path,
        on_event=events.append,
        **{"backend": SimulatedBackend(), **options},
    )
    return pipeline.run()


def test_stages_are_told_in_order(tmp_path):
    """Each begins and ends, and the report comes last."""
    events = []
    report = dump(tmp_path, events)

    events = [event for event in events if not isinstance(event, StageProgress)]  # now and then
    told = [(type(event), event.stage) for event in events[:-1]]
    stages = ["pause", "libraries", "core", "manifest", "archive", "publish"]
    assert told == [(kind, stage) for stage in stages for kind in (StageStarted, StageFinished)]
    assert events[-1] == DumpFinished(dump=report.name, report=report, error=None)
    assert {event.dump for event in events} == {report.name}
    assert events[1].seconds == report.pause.total
    assert events[0].at >= report.stages[0].started_at  # observe, just before the pause


def test_a_stage_that_fails_says_why(tmp_path):
    """And the next one begins."""
    events = []
    dump(tmp_path, events, Raises, "raw")

    errors = {e.stage: e.error for e in events if isinstance(e, StageFinished)}
    passed = dict.fromkeys(("pause", "core", "raw", "publish"))
    assert errors == {**passed, "raises": "OSError: no"}


def test_progress_is_told_while_a_stage_goes_on(tmp_path):
    """A few times a second, also while the backend alone works; never after the stage's end."""
    events, told = [], threading.Event()

    def listen(event):
        events.append(event)
        if isinstance(event, StageProgress):
            told.set()

    class Waits(gencore.Collector):
        name = "waits"
        api_version = (1, 0)

        def finish(self, _dump):
            assert told.wait(30)
            return []

    gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[Waits], directory=tmp_path, on_event=listen
    ).run()

    assert any(isinstance(event, StageProgress) for event in events)
    for before, event in itertools.pairwise(events):
        if isinstance(event, StageProgress):
            assert isinstance(before, (StageStarted, StageProgress))
            assert before.stage == event.stage


def test_progress_between_two_stages_is_not_told():
    """It would belong to none."""
    events = []
    announcer = Announcer("dump", [events.append])
    now = datetime.now(UTC)

    announcer.tell_progress(lambda: gencore.Progress("core", 1, 9))
    announcer.tell(StageStarted(dump="dump", stage="core", at=now))
    announcer.tell_progress(lambda: gencore.Progress("core", 2, 9))
    announcer.tell(StageFinished(dump="dump", stage="core", at=now, seconds=0, error=None))
    announcer.tell_progress(lambda: gencore.Progress("core", 3, 9))
    announcer.finish(DumpFinished(dump="dump", report=None, error=None))

    assert [e for e in events if isinstance(e, StageProgress)] == [
        StageProgress(dump="dump", stage="core", done=2, total=9)
    ]


def test_nothing_is_told_inside_the_pause(tmp_path):
    """Not before start() has the snapshot, whatever a listener does."""
    taken, too_early = threading.Event(), []

    class Watches(SimulatedBackend):
        def snapshot(self, *args, **options):
            snapshot = super().snapshot(*args, **options)
            taken.set()
            return snapshot

    gencore.Pipeline(
        backend=Watches(),
        collectors=["raw"],
        directory=tmp_path,
        on_event=lambda _: taken.is_set() or too_early.append(1),
    ).run()

    assert taken.is_set()
    assert too_early == []


def test_a_cancelled_dump_says_so(tmp_path):
    """Without a report."""
    events, go_on = [], threading.Event()

    class Waits(Raises):
        def finish(self, _dump):
            go_on.wait(30)
            return []

    handle = gencore.start(
        backend=SimulatedBackend(), collectors=[Waits], directory=tmp_path, on_event=events.append
    )
    handle.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        handle.result(20)

    assert events[-1].report is None
    assert isinstance(events[-1].error, CancelledError)


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError],
)
def test_a_listener_that_raises_is_logged_and_told_the_rest(tmp_path, caplog, error):
    """The dump does not notice."""
    events = []

    def listen(event):
        events.append(event)
        raise error("no")

    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=tmp_path, on_event=listen
    ).run()

    assert report.result == "complete"
    assert isinstance(events[-1], DumpFinished)
    assert "an event listener raised" in caplog.text


def test_all_listeners_together_delay_the_end_once(tmp_path, monkeypatch):
    """However many hang: the dump waits until one time for all of them."""
    times = []
    monkeypatch.setattr(Announcer, "wait", lambda _, until: times.append(until))

    dump(tmp_path, [], listeners=[lambda _: None] * 3)

    assert len(times) > 3
    assert len(set(times)) == 1


def test_an_asynchronous_listener_is_logged(tmp_path, caplog):
    """Nobody would await it."""

    async def listen(_):
        pass

    dump(tmp_path, [], listeners=[listen])

    assert "it returned coroutine, which nobody awaits" in caplog.text


def test_a_listener_that_hangs_keeps_no_record_from_being_written(tmp_path, caplog):
    """Nor one that exits: what the program listens with is its own affair."""
    over = threading.Event()
    with caplog.at_level(logging.INFO, "gencore"):
        gencore.Pipeline(
            backend=SimulatedBackend(failure=gencore.CoreFailed("simulated")),
            collectors=["raw"],
            directory=tmp_path,
            on_event=lambda _: over.wait(60),
        ).run()
        records = [record.levelname for record in caplog.records]
        over.set()

    assert records[-1] == "ERROR"


def test_without_a_thread_for_them_events_are_told_at_the_end(tmp_path, refuse_thread):
    """None is lost."""
    refuse_thread("gencore-events")
    events = []
    dump(tmp_path, events)

    assert events[0].stage == "pause"
    assert isinstance(events[-1], DumpFinished)


def test_what_listens_must_be_callable():
    """Found when the pipeline is built."""
    with pytest.raises(gencore.UsageError, match="cannot be called"):
        gencore.Pipeline(on_event=7)


def fields(record):
    return {k.removeprefix("gencore_"): v for k, v in vars(record).items() if "gencore_" in k}


def test_a_dump_leaves_structured_log_records(tmp_path, caplog):
    """With the documented attributes."""
    with caplog.at_level(logging.DEBUG, "gencore"):
        report = dump(tmp_path, [], Raises, "raw")
    records = [(record.levelname, fields(record)) for record in caplog.records]

    assert ("DEBUG", {"event": "stage-started", "dump": report.name, "stage": "core"}) in records
    (failed,) = [
        f for level, f in records if level == "WARNING" and f["event"] == "stage-finished"
    ]
    assert (failed["stage"], failed["error"]) == ("raises", "OSError: no")
    assert failed["seconds"] >= 0
    assert records[-1] == (
        "WARNING",
        {
            "event": "dump-finished",
            "dump": report.name,
            "result": "partial",
            "backend": "simulated",
            "pause": report.pause.total,
            "artifacts": [str(report.path_of("raw"))],
            "problems": ["raises: OSError: no"],
        },
    )


@pytest.mark.parametrize(
    ("failure", "level"), [(None, "INFO"), (gencore.CoreFailed("simulated"), "ERROR")]
)
def test_the_level_of_the_last_record_is_that_of_the_result(tmp_path, caplog, failure, level):
    """So that an alert can be made of it."""
    with caplog.at_level(logging.INFO, "gencore"):
        dump(tmp_path, [], "raw", backend=SimulatedBackend(failure=failure))

    assert [record.levelname for record in caplog.records][-1] == level


def test_an_application_without_logging_is_not_written_to(python):
    """Not even of a failed dump: libraries do not print."""
    code = """
import contextlib, gencore, io, json
from gencore.testing import SimulatedBackend
with contextlib.redirect_stderr(io.StringIO()) as printed:
    failing = SimulatedBackend(failure=gencore.CoreFailed("simulated"))
    gencore.Pipeline(backend=failing, collectors=["raw"]).run()
print(json.dumps(printed.getvalue()))
"""

    assert python(code) == ""


@pytest.fixture(scope="module")
def spans():
    """Let the application have OpenTelemetry; return what takes its spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def test_a_dump_is_a_span_below_the_one_that_asked_for_it(tmp_path, spans):
    """With its stages below it, at the times when they happened."""
    spans.clear()
    with trace.get_tracer("application").start_as_current_span("request") as request:
        report = dump(tmp_path, [], "manifest")
    made = {span.name: span for span in spans.get_finished_spans()}

    whole = made["gencore.dump"]
    assert whole.parent.span_id == request.get_span_context().span_id
    assert whole.attributes["gencore.dump.name"] == report.name
    assert whole.attributes["gencore.dump.result"] == "complete"
    for phase in report.stages:
        stage = made[f"gencore.{phase.name}"]
        assert stage.parent.span_id == whole.context.span_id
        assert whole.start_time <= stage.start_time <= stage.end_time <= whole.end_time


def test_a_failed_stage_is_a_span_with_an_error(tmp_path, spans):
    """And so is a failed dump."""
    spans.clear()
    failure = gencore.CoreFailed("simulated")
    dump(tmp_path, [], Raises, backend=SimulatedBackend(failure=failure))
    states = {span.name: span.status.status_code for span in spans.get_finished_spans()}

    assert states["gencore.dump"] is trace.StatusCode.ERROR
    assert states["gencore.raises"] is trace.StatusCode.ERROR


def test_the_manifest_names_the_trace(tmp_path, spans):
    """In the form in which tracing tools show it."""
    spans.clear()
    with trace.get_tracer("application").start_as_current_span("request") as request:
        report = dump(tmp_path, [], "manifest")
    context = request.get_span_context()

    trigger = json.loads(report.path_of("manifest").read_text())["trigger"]
    assert trigger["trace_id"] == f"{context.trace_id:032x}"
    assert trigger["span_id"] == f"{context.span_id:016x}"


def test_opentelemetry_is_not_imported_for_a_dump(python):
    """It is the application's to load."""
    code = """
import gencore, json, sys
from gencore.testing import SimulatedBackend
gencore.Pipeline(backend=SimulatedBackend(), collectors=["manifest"]).run()
print(json.dumps([name for name in sys.modules if name.startswith("opentelemetry")]))
"""

    assert python(code) == []
