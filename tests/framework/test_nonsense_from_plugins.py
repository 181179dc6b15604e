"""A plug-in that returns or raises nonsense, in whatever method, costs its own artefact."""

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


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".", "..", "/etc/passwd"])
def test_an_artefact_that_is_no_file_of_the_dumps_is_not_published(tmp_path, name):
    """Whatever path it names."""

    class Escapes(Quiet):
        def finish(self, _dump):
            return [gencore.Artifact(name=name, size=0)]

    report = report_of(tmp_path, Escapes)

    assert "is not the name of a file" in report.failed[0].reason
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

    with pytest.raises(gencore.CoreFailed, match="the backend raised KeyError"):
        report_of(tmp_path, backend=backend)


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


@pytest.mark.parametrize("phases", [None, 7, {"clone": "long"}])
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
