"""A plug-in that returns or raises nonsense, in whatever method, costs its own artefact."""

import os
import threading
from concurrent.futures import CancelledError, Future

import pytest

import gencore
from gencore.testing import SimulatedBackend

NONSENSE = [None, 7, "text", object(), [1], {"a": 1}]


class Quiet(gencore.Collector):
    """Does nothing."""

    name = "quiet"
    api_version = (1, 0)

    def finish(self, _dump):
        return []


def report_of(tmp_path, collector=None, backend=None):
    collectors = ["raw"] if collector is None else [collector, "raw"]
    backend = SimulatedBackend() if backend is None else backend
    return gencore.Pipeline(backend=backend, collectors=collectors, directory=tmp_path).run()


@pytest.mark.parametrize("nonsense", [value for value in NONSENSE if value is not None])
@pytest.mark.parametrize("method", ["begin", "finish"])
def test_a_collector_that_returns_nonsense_is_reported(tmp_path, method, nonsense):
    """The core is published whole."""
    bad = type("Bad", (Quiet,), {method: lambda *_: nonsense})

    report = report_of(tmp_path, bad)

    assert report.result == "partial"
    assert [part.part for part in report.failed] == ["quiet"]
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


@pytest.mark.parametrize("method", ["check", "begin", "write", "close", "packing", "finish"])
def test_a_collector_must_not_be_asynchronous(tmp_path, method):
    """Nobody would await what its methods return."""

    async def never_awaited(*_):
        pass

    class Sinks(Quiet, gencore.CoreSink):
        packs = method == "packing"

        def begin(self, _dump):
            return self

        def write(self, _chunk):
            pass

    report = report_of(tmp_path, type("Bad", (Sinks,), {method: never_awaited}))

    assert [part.part for part in report.failed] == ["quiet"]
    assert "coroutine" in report.failed[0].reason
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


@pytest.mark.parametrize("how", ["returns", "raises", "exits"])
@pytest.mark.parametrize("method", ["check", "observe", "begin", "write", "close", "finish"])
def test_a_child_that_a_plug_in_forks_does_not_go_on_with_the_dump(tmp_path, method, how):
    """It ends where it comes back from the plug-in; the parent's dump is as if it had not been."""
    children, called = [], []

    class Sinks(Quiet, gencore.CoreSink):
        def begin(self, _dump):
            return self if method in {"write", "close"} else None

        def write(self, _chunk):
            pass

    def forks(*_):
        if called:
            return
        called.append(method)
        child = os.fork()
        if child:
            children.append(child)
            os.waitpid(child, 0)  # the child is the faster one: what it does comes first
        elif how == "raises":
            raise ValueError
        elif how == "exits":
            raise SystemExit(3)

    bad = type("Forks", (Sinks,), {method: forks})
    finished = []

    report = gencore.Pipeline(
        backend=SimulatedBackend(),
        collectors=[bad, "raw"],
        directory=tmp_path,
        on_event=lambda _: finished.append(os.getpid()),
    ).run()

    assert children
    assert report.result == "complete"
    assert report.failed == ()
    assert [artifact.path.exists() for artifact in report.artifacts] == [True]
    assert set(finished) == {os.getpid()}


def test_a_check_returns_nothing(tmp_path):
    """False would be taken for a no by who wrote it, and for a yes by who calls it."""
    report = report_of(tmp_path, type("Bad", (Quiet,), {"check": lambda _: False}))

    assert "check() returned bool, expected None" in report.failed[0].reason


def test_what_makes_no_collector_is_reported(tmp_path):
    """A callable may return anything."""
    report = report_of(tmp_path, lambda: 7)

    assert "7 is not a Collector" in report.failed[0].reason
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


def test_a_constructor_that_raises_is_reported(tmp_path):
    """By the collector's name."""

    class Raises(Quiet):
        def __init__(self):
            raise ZeroDivisionError("no")

    report = report_of(tmp_path, Raises)

    assert [(part.part, str(part.error)) for part in report.failed] == [("quiet", "no")]


@pytest.mark.parametrize(
    "name", ["../outside", "a/b", "", ".", "..", "/etc/passwd", "a\0b", "\ud800"]
)
def test_an_artefact_that_is_no_file_of_the_dumps_is_not_published(tmp_path, name):
    """Whatever path it names."""

    class Escapes(Quiet):
        def finish(self, _dump):
            return [gencore.Artifact(name=name, size=0)]

    outside = tmp_path / "outside"
    outside.write_text("somebody's")
    outside.chmod(0o644)

    report = report_of(tmp_path, Escapes)

    assert [part.part for part in report.failed] == ["quiet"]
    assert outside.stat().st_mode & 0o777 == 0o644
    outside.unlink()
    assert [path.name for path in tmp_path.iterdir()] == [f"{report.name}.core"]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_probe_that_returns_nonsense_is_a_no(tmp_path, nonsense):
    """With what it returned as the reason."""
    backend = SimulatedBackend()
    backend.probe = lambda _: nonsense

    with pytest.raises(gencore.Unsupported, match="not a Verdict"):
        report_of(tmp_path, backend=backend)


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_snapshot_that_is_none_is_a_failed_core(tmp_path, nonsense):
    """Before anything else is done."""
    backend = SimulatedBackend()
    backend.snapshot = lambda *_, **__: nonsense

    with pytest.raises(gencore.CoreFailed, match=r"'snapshot' failed.*not a Snapshot"):
        report_of(tmp_path, backend=backend)
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_raises_what_is_no_gencore_error_is_a_failed_core(tmp_path):
    """Callers have one tree of errors to look at."""
    backend = SimulatedBackend()

    def snapshot(*_, **__):
        raise KeyError("oops")

    backend.snapshot = snapshot

    with pytest.raises(gencore.CoreFailed, match="backend 'simulated' raised KeyError"):
        report_of(tmp_path, backend=backend)


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), KeyboardInterrupt()])
def test_a_snapshot_that_ends_the_program_is_a_failed_core(tmp_path, error):
    """It ends neither the program nor the thread that asked."""
    backend = SimulatedBackend()

    def snapshot(*_, **__):
        raise error

    backend.snapshot = snapshot

    match = f"backend 'simulated' raised {type(error).__name__}"
    with pytest.raises(gencore.CoreFailed, match=match):
        report_of(tmp_path, backend=backend)
    assert list(tmp_path.iterdir()) == []


def test_a_coroutine_as_observe_is_reported(tmp_path):
    """Nobody would await it."""

    class Later(Quiet):
        async def observe(self, process):
            pass

    report = report_of(tmp_path, Later)

    assert [part.part for part in report.failed] == ["quiet"]
    assert "observe() returned coroutine, expected None" in report.failed[0].reason


def bent(**changed):
    """Return a backend whose snapshots have attributes of another kind."""
    backend = SimulatedBackend()
    take = backend.snapshot

    def snapshot(*args, **options):
        taken = take(*args, **options)
        taken.__class__ = type("Bent", (type(taken),), changed)
        return taken

    backend.snapshot = snapshot
    return backend


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_core_that_is_no_stream_is_a_failed_core(tmp_path, nonsense):
    """The report says what it was."""
    report = report_of(tmp_path, backend=bent(core=lambda _: nonsense))

    assert report.result == "failed"
    assert "not a CoreStream" in report.failed[0].reason


@pytest.mark.parametrize(
    "changed", [{"threads": 7}, {"threads": [7]}, {"mapped_files": lambda _: 7}]
)
def test_nonsense_about_the_process_does_not_cost_the_core(tmp_path, changed):
    """It is a failure of its own."""
    report = report_of(tmp_path, backend=bent(**changed))

    assert [part.part for part in report.failed] == ["libraries"]
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


@pytest.mark.parametrize(
    "phases", [None, 7, {"clone": "long"}, {"clone": float("nan")}, {"clone": -1.0}, {"a": 1e300}]
)
def test_a_pause_without_figures_leaves_no_snapshot(tmp_path, phases):
    """It is closed before the error is raised."""
    closed = []
    backend = bent(phases=phases, close=lambda _: closed.append(1))

    with pytest.raises(gencore.CoreFailed, match="phases"):
        report_of(tmp_path, backend=backend)
    assert closed == [1]


def test_a_backend_whose_constructor_raises_is_passed_over(tmp_path, monkeypatch):
    """As one whose import raises: `gencore plugins` tells why."""

    def raises(_self):
        raise ZeroDivisionError("no")

    monkeypatch.setattr("gencore_backends.aix.stub.Aix.__init__", raises)

    report = gencore.Pipeline(collectors=["raw"], directory=tmp_path).run()

    assert any("'aix' was not loaded: its constructor raises" in w for w in report.warnings)
    with pytest.raises(gencore.PluginError, match="constructor"):
        gencore.Pipeline(backend="aix")


@pytest.mark.parametrize("method", ["__init__", "observe", "begin", "finish"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_collector_cannot_end_the_program(tmp_path, method, error):
    """What it raises is its failure, of whatever kind it is."""

    def raises(*_):
        raise error

    report = report_of(tmp_path, type("Bad", (Quiet,), {method: raises}))

    assert [part.part for part in report.failed] == ["quiet"]
    assert type(error).__name__ in report.failed[0].reason
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


def test_a_probe_that_exits_is_a_no(tmp_path):
    """As one that raises."""
    backend = SimulatedBackend()

    def probe(_request):
        raise SystemExit(3)

    backend.probe = probe

    with pytest.raises(gencore.Unsupported, match="SystemExit: 3"):
        report_of(tmp_path, backend=backend)


class Raising:
    """A class attribute that cannot be read."""

    def __get__(self, *_):
        raise KeyError("no")


@pytest.mark.parametrize(
    "attribute", ["name", "packs", "keeps_core", "hashes_core", "makes_files"]
)
def test_a_collector_that_does_not_say_what_it_is_is_reported(tmp_path, attribute):
    """Whatever of it cannot be read."""
    report = report_of(tmp_path, type("Bad", (Quiet,), {attribute: Raising()}))

    assert len(report.failed) == 1
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


def test_without_any_collector_left_there_is_no_pause(tmp_path):
    """Nothing would be saved of it."""
    backend = SimulatedBackend()
    backend.snapshot = None

    def fails():
        raise OSError("no")

    for required in (True, False):
        specs = [gencore.CollectorSpec(fails, required=required)]
        with pytest.raises(gencore.PluginError, match="none of the collectors can be used: no"):
            gencore.Pipeline(backend=backend, collectors=specs, directory=tmp_path).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("priority", [float("nan"), "high", None])
def test_a_backend_without_a_priority_is_passed_over(tmp_path, monkeypatch, priority):
    """It cannot be compared with others."""
    monkeypatch.setattr("gencore_backends.aix.stub.Aix.priority", priority)

    report = gencore.Pipeline(collectors=["raw"], directory=tmp_path).run()

    assert any("its priority is not a whole number" in warning for warning in report.warnings)


class Strange(gencore.CoreStream):
    """Gives other chunks than it promises."""

    size = 6

    def __init__(self, *chunks):
        self.chunks = chunks

    def __iter__(self):
        yield from self.chunks


@pytest.mark.parametrize("chunks", [(b"abc",), (b"abc", None, b"def"), (b"abc", 7), (b"abcdefg",)])
def test_a_core_of_other_bytes_than_promised_is_never_complete(tmp_path, chunks):
    """Whatever its backend says."""
    report = report_of(tmp_path, backend=bent(core=lambda _: Strange(*chunks)))

    assert report.result in {"partial", "failed"}
    assert report.failed[0].part == "core"
    assert [a.name for a in report.artifacts] in ([], ["truncated.core"])


def test_progress_that_cannot_be_told_does_no_harm(tmp_path):
    """It is asked for while the core is made."""

    def core(snapshot):
        assert handle.result(20).progress.done == 0
        return type(snapshot).__mro__[1].core(snapshot)

    def written(_):
        raise OSError("no")

    handle = Future()
    pipeline = gencore.Pipeline(
        backend=bent(core=core, written=property(written)), collectors=["raw"], directory=tmp_path
    )
    dump = pipeline.start()
    handle.set_result(dump)

    assert dump.result(20).result == "complete"


def test_a_backend_that_raises_when_it_is_stopped_does_no_harm(tmp_path):
    """The dump ends all the same."""
    entered, stopped = threading.Event(), threading.Event()

    def core(_snapshot):
        entered.set()
        stopped.wait(20)
        raise gencore.CoreFailed("stopped")

    def abort(_snapshot):
        stopped.set()
        raise ZeroDivisionError("no")

    pipeline = gencore.Pipeline(
        backend=bent(core=core, abort=abort), collectors=["raw"], directory=tmp_path
    )
    dump = pipeline.start()
    entered.wait(20)

    assert dump.cancel()
    with pytest.raises(CancelledError):
        dump.result(20)


def test_what_listens_for_others_cannot_keep_a_snapshot(tmp_path, monkeypatch):
    """Listeners are made before the instant: a tracer may raise, as anything of others."""
    backend = SimulatedBackend()
    backend.snapshot = None  # would be called

    monkeypatch.setattr("gencore._listeners.told.span_listener", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        report_of(tmp_path, backend=backend)
    assert list(tmp_path.iterdir()) == []
