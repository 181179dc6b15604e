"""A plug-in that hangs, in whatever method, costs its own artefact; the process is unharmed."""

import contextvars
import math
import signal
import threading
import time
from concurrent.futures import CancelledError

import pytest

import gencore
import gencore.runtime
from gencore._pipeline import publication
from gencore._pipeline.selection import Candidate
from gencore.testing import SimulatedBackend


@pytest.fixture
def hang(settled):
    """Return a function that returns when the test is over, and waits for its threads' ends."""
    over = threading.Event()
    yield lambda *_: over.wait(60)
    over.set()
    settled()


class Quiet(gencore.Collector):
    """Does nothing."""

    name = "quiet"
    api_version = (1, 0)

    def finish(self, _dump):
        return []


class Sink(gencore.CoreSink):
    """Takes bytes, and says when it was told to release everything."""

    def __init__(self):
        self.released = threading.Event()

    def write(self, chunk):
        pass

    def abort(self):
        self.released.set()


def hanging(hang, method):
    """Return a collector that hangs in one method, and its sink."""
    sink = Sink()

    class Hangs(Quiet):
        def __init__(self):
            if method == "__init__":
                hang()

        def begin(self, _dump):
            return sink

    if method in {"observe", "finish"}:
        setattr(Hangs, method, hang)
    elif method == "begin":
        Hangs.begin = lambda *_: hang() and sink
    else:
        setattr(sink, method, hang)
    return Hangs, sink


@pytest.mark.parametrize("method", ["__init__", "observe", "begin", "write", "close", "finish"])
def test_a_collector_that_hangs_is_left_behind(tmp_path, monkeypatch, hang, method):
    """The others get the whole core, and the report says who was given up, where and why."""
    monkeypatch.setattr("gencore._pipeline.watched._ANSWER_LIMIT", 0.3)
    monkeypatch.setattr("gencore._pipeline.instant._OBSERVE_LIMIT", 0.3)
    collector, _ = hanging(hang, method)
    spec = gencore.CollectorSpec(collector, timeout=0.3)

    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[spec, "raw"], directory=tmp_path
    ).run()

    assert report.result == "partial"
    (failed,) = report.failed
    assert failed.part == "quiet"
    assert isinstance(failed.error, gencore.TimedOut)
    assert "collector 'quiet' did not return within 0.3 s" in failed.reason
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{report.name}.core"]


class Uploads(gencore.Destination):
    """Keeps what its uploads have gone through, by name."""

    name = "uploads"
    api_version = (1, 1)

    def __init__(self, hangs, went_through):
        self.hangs, self.went_through = hangs, went_through

    def open(self, name, _size_hint):
        """Begin one."""
        return Upload(self, name.partition(".")[2])


class Upload(gencore.Upload):
    def __init__(self, place, name):
        self.place, self.name = place, name

    def write(self, data):
        pass

    def commit(self):
        self.goes_through("commit")
        return f"place:{self.name}"

    def abort(self):
        self.goes_through("abort")

    def goes_through(self, method):
        self.place.went_through.append((self.name, method))
        if "bad" in self.name:
            self.place.hangs.get(method, lambda: None)()


class Passing(gencore.Filter):
    """Passes everything on."""

    name = "passing"
    api_version = (1, 1)
    suffix = ".passing"

    def __init__(self, hangs):
        self.hangs = hangs

    def open(self, writer):
        """Begin one."""
        sink = type("Sink", (), {"write": lambda _, data: writer.write(data)})()
        sink.close = self.hangs.get("close", lambda: None)
        return sink


def makes(name, *, fails=False):
    """Return a collector that makes one file."""

    def finish(_, dump):
        dump.create(f"{name}.txt").write(b"1")
        if fails:
            raise ValueError

    return type("Makes", (Quiet,), {"name": name, "finish": finish})


@pytest.mark.parametrize("method", ["commit", "abort", "close"])
def test_a_way_out_that_hangs_is_left_behind(tmp_path, monkeypatch, hang, method):
    """Who publishes, or gives up an artefact, goes on with the next one; all are ended."""
    monkeypatch.setattr("gencore._pipeline.publication._MOST", 0.3)
    monkeypatch.setattr("gencore._pipeline.participants.ABORT_LIMIT", 0.3)
    monkeypatch.setattr("gencore._pipeline.stages._RELEASE_LIMIT", 0.3)
    hangs, went_through = {method: hang}, []
    bad, good = makes("bad", fails=method != "commit"), makes("good")
    filters = [lambda: Passing(hangs)]

    report = gencore.Pipeline(
        backend=SimulatedBackend(),
        collectors=[bad, *([] if method == "close" else [good])],
        directory=tmp_path,
        destination=lambda: Uploads(hangs, went_through),
        filters=filters if method == "close" else [],
    ).run()

    assert [failed.part for failed in report.failed] == ["bad"]
    assert [artifact.collector for artifact in report.artifacts] == (
        [] if method == "close" else ["good"]
    )
    assert any("bad" in name and did == "abort" for name, did in went_through)
    if method == "commit":
        assert isinstance(report.failed[0].error, gencore.TimedOut)
        assert "commit() of 'bad.txt' by destination 'uploads'" in report.failed[0].reason


def test_commits_have_the_time_of_the_dump():
    """Or a moment if that has passed; without a limit not for ever: it cannot be cancelled now."""
    assert publication._end_of_commits(1000.0, now=10.0) == 1000.0
    assert publication._end_of_commits(10.0, now=10.0) > 10.0
    assert 10.0 < publication._end_of_commits(math.inf, now=10.0) < math.inf


def test_a_collector_that_returns_after_all_releases_what_it_made(tmp_path):
    """On its own thread, as soon as it returns."""
    returned = threading.Event()
    sink = Sink()

    class Slow(Quiet):
        def begin(self, _dump):
            returned.wait(60)
            return sink

    spec = gencore.CollectorSpec(Slow, timeout=0.3)
    gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[spec, "raw"], directory=tmp_path
    ).run()
    assert not sink.released.is_set()
    returned.set()

    assert sink.released.wait(20)


def test_what_is_left_behind_cannot_make_files_any_more(tmp_path):
    """Its dump has ended: the directory is gone, and another may have its descriptor."""
    go_on, outcome, told = threading.Event(), [], threading.Event()

    class Late(Quiet):
        def finish(self, dump):
            go_on.wait(60)
            try:
                dump.create("late.txt")
            except Exception as error:
                outcome.append(error)
            told.set()
            return []

    spec = gencore.CollectorSpec(Late, timeout=0.3)
    pipeline = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[spec, "raw"], directory=tmp_path
    )
    pipeline.run()
    go_on.set()

    assert told.wait(20)
    assert "has ended" in str(outcome[0])


def test_a_dump_is_cancelled_although_a_collector_hangs(tmp_path, hang):
    """Without any time limit: what was asked to stop has a second to do so."""
    entered = threading.Event()

    class Hangs(Quiet):
        time_limit = None

        def finish(self, _dump):
            entered.set()
            hang()

    dump = gencore.start(backend=SimulatedBackend(), collectors=[Hangs], directory=tmp_path)
    assert entered.wait(20)

    assert dump.cancel()
    with pytest.raises(CancelledError):
        dump.result(20)
    assert list(tmp_path.iterdir()) == []


def test_the_dumps_time_limit_holds_although_a_collector_hangs(tmp_path, hang):
    """The report says so."""

    class Hangs(Quiet):
        time_limit = None
        finish = hang

    report = gencore.start(
        backend=SimulatedBackend(), collectors=[Hangs], directory=tmp_path, timeout=0.3
    ).result(20)

    assert report.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_does_not_answer_is_passed_over(tmp_path, monkeypatch, hang):
    """The one that answers is taken."""
    monkeypatch.setattr("gencore._pipeline.watched._ANSWER_LIMIT", 0.3)
    silent, answers = SimulatedBackend(), SimulatedBackend()
    silent.probe = hang
    silent.priority = 90
    pipeline = gencore.Pipeline(collectors=["raw"], directory=tmp_path)
    pipeline._selection.backends = [Candidate(silent), Candidate(answers)]
    assert pipeline.run().result == "complete"

    pipeline._selection.backends = [Candidate(silent)]
    with pytest.raises(gencore.Unsupported, match=r"its probe did not return within 0\.3 s"):
        pipeline.start()


@pytest.mark.parametrize("method", ["core", "pause_ended", "mapped_files", "close"])
def test_a_backend_that_hangs_after_the_pause_is_ended_by_the_time_limit(
    tmp_path, monkeypatch, hang, method
):
    """Also one that ignores abort()."""
    monkeypatch.setattr("gencore._pipeline.stages._RELEASE_LIMIT", 0.3)
    backend = SimulatedBackend()
    take = backend.snapshot

    def snapshot(*args, **options):
        taken = take(*args, **options)
        setattr(taken, method, hang)
        return taken

    backend.snapshot = snapshot
    dump = gencore.start(backend=backend, collectors=["raw"], directory=tmp_path, timeout=1)
    report = dump.result(20)

    assert report.exit_code == (0 if method == "close" else 7)
    left = [path.name for path in tmp_path.iterdir()]
    assert left == ([f"{report.name}.core"] if method == "close" else [])


def test_a_listener_that_hangs_delays_no_dump(tmp_path, hang):
    """It misses the rest."""
    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=tmp_path, on_event=hang
    ).run()

    assert report.result == "complete"


@pytest.mark.parametrize("method", ["write", "close"])
def test_a_sink_is_told_to_release_all_once_its_call_has_returned(tmp_path, method):
    """Never while it is inside, and exactly once."""
    go_on, told = threading.Event(), []

    class Slow(Sink):
        inside = False

        def abort(self):
            told.append(self.inside)
            super().abort()

    def slow(self, *_):
        self.inside = True
        go_on.wait(60)
        self.inside = False

    setattr(Slow, method, slow)
    sink = Slow()
    collector = type("Slow", (Quiet,), {"begin": lambda *_: sink})
    spec = gencore.CollectorSpec(collector, timeout=0.3)
    gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[spec, "raw"], directory=tmp_path
    ).run()
    assert told == []
    go_on.set()

    assert sink.released.wait(20)
    assert told == [False]


def test_a_collector_whose_time_is_used_up_is_not_called_again(tmp_path):
    """Even if each of its calls was short."""
    calls = []

    class Busy(Quiet, gencore.CoreSink):
        def begin(self, _dump):
            return self

        def write(self, _chunk):
            end = time.monotonic() + 0.05
            while time.monotonic() < end:
                calls.append(1)

        def finish(self, _dump):
            raise AssertionError("called again")

    spec = gencore.CollectorSpec(Busy, timeout=0.04)
    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[spec, "raw"], directory=tmp_path
    ).run()

    assert calls
    assert isinstance(report.failed[0].error, gencore.TimedOut)


def test_what_was_cancelled_is_cleaned_up_however_long_that_takes(tmp_path, monkeypatch):
    """A second's grace is for what still works, not for what ends it."""
    monkeypatch.setattr("gencore._runtime.supervisor._GRACE", 0)
    steps, entered, stopped = [], threading.Event(), threading.Event()
    backend = SimulatedBackend()
    take = backend.snapshot

    def core():
        entered.set()
        stopped.wait(20)
        raise gencore.CoreFailed("stopped")

    def close():
        steps.append("closing")
        time.sleep(0.6)  # more than two looks of the watch
        steps.append("closed")

    def snapshot(*args, **options):
        taken = take(*args, **options)
        taken.core, taken.abort, taken.close = core, stopped.set, close
        return taken

    backend.snapshot = snapshot
    dump = gencore.start(backend=backend, collectors=["raw"], directory=tmp_path)
    entered.wait(20)
    dump.cancel()
    with pytest.raises(CancelledError):
        dump.result(20)

    assert steps == ["closing", "closed"]


def test_rows_that_never_end_are_ended_by_the_time_limit(tmp_path):
    """A generator of the backend runs where it can be left behind."""
    over = threading.Event()

    def endless(_snapshot):
        while not over.is_set():
            yield gencore.MappedFile(path="/x")
            time.sleep(0.01)

    backend = SimulatedBackend()
    take = backend.snapshot

    def snapshot(*args, **options):
        taken = take(*args, **options)
        taken.__class__ = type("Bent", (type(taken),), {"mapped_files": endless})
        return taken

    backend.snapshot = snapshot
    report = gencore.start(
        backend=backend, collectors=["raw"], directory=tmp_path, timeout=0.5
    ).result(20)
    over.set()

    assert report.exit_code == 7


def test_a_stopped_dump_does_not_wait_for_a_backend_that_does_not_listen(tmp_path, hang):
    """cancel() returns, and the dump ends."""
    backend = SimulatedBackend()
    take = backend.snapshot

    def snapshot(*args, **options):
        taken = take(*args, **options)
        taken.core = taken.abort = hang
        return taken

    backend.snapshot = snapshot
    dump = gencore.start(backend=backend, collectors=["raw"], directory=tmp_path)

    assert dump.cancel()
    with pytest.raises(CancelledError):
        dump.result(20)


class Hanging(SimulatedBackend):
    """Takes its snapshot when it is let, and notes what becomes of it."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on, self.closed = (threading.Event() for _ in range(3))

    def snapshot(self, *args, **options):
        self.entered.set()
        self.go_on.wait(60)
        taken = super().snapshot(*args, **options)
        taken.close = self.closed.set
        return taken


@pytest.fixture
def hanging_backend(settled):
    """Return a backend whose snapshot() returns when the test is over."""
    backend = Hanging()
    yield backend
    backend.go_on.set()
    settled()


@pytest.mark.parametrize("timeout", [0.3, None])
def test_a_snapshot_that_hangs_is_left_behind(tmp_path, monkeypatch, hanging_backend, timeout):
    """After the dump's time limit, or another; what comes too late is closed."""
    monkeypatch.setattr("gencore._pipeline.instant._SNAPSHOT_LIMIT", 0.3)
    pipeline = gencore.Pipeline(
        backend=hanging_backend, collectors=["raw"], directory=tmp_path, timeout=timeout
    )

    with pytest.raises(
        gencore.TimedOut, match=r"backend 'simulated' did not return within 0\.3 s"
    ):
        pipeline.start()

    assert list(tmp_path.iterdir()) == []
    assert not hanging_backend.closed.is_set()
    hanging_backend.go_on.set()
    assert hanging_backend.closed.wait(20)


def test_a_snapshot_that_hangs_blocks_no_other_dump(tmp_path, hanging_backend):
    """The next one begins as soon as it was left behind, although it still hangs."""
    raised = []

    def dump():
        try:
            gencore.start(
                backend=hanging_backend, collectors=["raw"], directory=tmp_path, timeout=0.3
            )
        except gencore.TimedOut as error:
            raised.append(error)

    first = threading.Thread(target=dump)
    first.start()
    assert hanging_backend.entered.wait(20)
    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=tmp_path
    ).run()
    first.join()

    assert report.result == "complete"
    assert len(raised) == 1
    assert not hanging_backend.closed.is_set()


def test_a_snapshot_that_nobody_waits_for_any_more_is_closed(tmp_path, hanging_backend):
    """A signal handler raises in the thread that waits: the snapshot comes to nobody."""

    def interrupt(*_):
        raise InterruptedError("enough")

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.get_ident()

    def send():
        hanging_backend.entered.wait(20)
        signal.pthread_kill(main, signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(InterruptedError, match="enough"):
            gencore.start(backend=hanging_backend, collectors=["raw"], directory=tmp_path)
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    hanging_backend.go_on.set()

    assert hanging_backend.closed.wait(20)
    assert list(tmp_path.iterdir()) == []


def test_a_third_partys_snapshot_has_the_callers_context(tmp_path):
    """It runs on another thread, and is told which one has asked."""
    request, seen = contextvars.ContextVar("request"), []
    request.set("r-1")

    class Looks(SimulatedBackend):
        def snapshot(self, *args, **options):
            seen.extend((request.get(None), gencore.runtime.calling_thread()))
            seen.append(threading.get_ident())
            return super().snapshot(*args, **options)

    gencore.Pipeline(backend=Looks(), collectors=["raw"], directory=tmp_path).run()

    assert seen[:2] == ["r-1", threading.get_native_id()]
    assert seen[2] != threading.get_ident()
    assert gencore.runtime.calling_thread() == threading.get_native_id()


def test_gencores_own_snapshot_is_taken_on_the_callers_thread(tmp_path, monkeypatch):
    """No thread of the framework's is in its cores."""
    monkeypatch.setattr("gencore._pipeline.instant.take_watched", None)

    report = gencore.Pipeline(
        backend="linux-elf", collectors=["raw"], directory=tmp_path, content="stacks"
    ).run()

    assert report.threads[0].tid == threading.get_native_id()
