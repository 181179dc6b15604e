"""A collector that misbehaves costs its own artefact and nothing else."""

import contextvars
import os
import threading

import pytest

import gencore
from gencore.testing import SimulatedBackend


class Quiet(gencore.Collector):
    """Does nothing."""

    name = "quiet"
    api_version = (1, 0)

    def finish(self, _dump):
        return []


class RaisesInObserve(Quiet):
    """Fails inside the pause."""

    def observe(self, _process):
        raise ValueError("observe")


class RaisesInBegin(Quiet):
    """Fails before the first byte."""

    def begin(self, _dump):
        raise ValueError("begin")


class RaisesInWrite(Quiet, gencore.CoreSink):
    """Fails at the first byte."""

    def begin(self, _dump):
        return self

    def write(self, _chunk):
        raise ValueError("write")


class RaisesInAbort(RaisesInWrite):
    """Fails again when it is told to release everything."""

    def abort(self):
        raise ValueError("abort")


class RaisesInClose(RaisesInWrite):
    """Fails after the last byte."""

    def write(self, _chunk):
        pass

    def close(self):
        raise ValueError("close")


class RaisesInFinish(Quiet):
    """Fails at the end."""

    def finish(self, _dump):
        raise ValueError("finish")


class ReturnsNonsense(Quiet):
    """Returns what is no artefact."""

    def finish(self, _dump):
        return 7


class ReturnsAMissingFile(Quiet):
    """Describes a file that it never made."""

    def finish(self, _dump):
        return [gencore.Artifact(name="nowhere", size=1)]


BAD = [
    RaisesInObserve,
    RaisesInBegin,
    RaisesInWrite,
    RaisesInAbort,
    RaisesInClose,
    RaisesInFinish,
    ReturnsNonsense,
    ReturnsAMissingFile,
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_collector_costs_only_its_own_artefact(tmp_path, bad):
    """The core is published whole, and the report says who failed."""
    report = gencore.Pipeline(collectors=[bad, "raw"], directory=tmp_path).run()

    assert report.result == "partial"
    assert [part.part for part in report.failed] == ["quiet"]
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]


def test_a_sink_gets_every_byte_in_order(tmp_path):
    """What the sinks are given is the core, once."""
    got = bytearray()

    class Copies(RaisesInWrite):
        def write(self, chunk):
            got.extend(chunk)

    report = gencore.Pipeline(collectors=[Copies, "raw"], directory=tmp_path).run()

    assert report.path_of("raw").read_bytes() == got


def test_a_backend_whose_probe_raises_is_a_no(tmp_path):
    """Its exception is the reason."""
    pipeline = gencore.Pipeline(backend="linux-sigsegv", directory=tmp_path)

    def probe(_request):
        raise KeyError("oops")

    pipeline._selection.backends[0].backend.probe = probe

    with pytest.raises(gencore.Unsupported, match="its probe raises KeyError"):
        pipeline.start()


def test_a_core_that_fails_in_any_way_leaves_the_manifest(tmp_path, monkeypatch):
    """Not only CoreFailed: the Python stacks are saved whatever went wrong."""

    def find(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gencore_backends.linux.sigsegv_snapshot.KernelSnapshot._find", find)

    report = gencore.start(directory=tmp_path, backend="linux-sigsegv").result()

    assert report.result == "failed"
    assert [a.collector for a in report.artifacts] == ["manifest"]


def test_collectors_of_others_see_the_caller_first_and_not_themselves(tmp_path):
    """They observe on a thread of their own, which is none of the process's."""
    seen = []

    class Looks(Quiet):
        def observe(self, process):
            seen.extend(thread.name for thread in process.python_threads())

    gencore.Pipeline(backend=SimulatedBackend(), collectors=[Looks], directory=tmp_path).run()

    assert seen[0] == threading.current_thread().name
    assert not [name for name in seen if name and name.startswith("gencore-steps")]


def test_collectors_of_others_are_made_with_the_callers_context(tmp_path):
    """Variables of the request that asks for a dump, for instance."""
    request = contextvars.ContextVar("request")
    request.set("r-1")
    seen = []

    class Looks(Quiet):
        def __init__(self):
            seen.append(request.get(None))

        def observe(self, _process):
            seen.append(request.get(None))

    gencore.Pipeline(backend=SimulatedBackend(), collectors=[Looks], directory=tmp_path).run()

    assert seen == ["r-1", "r-1"]


def test_a_dump_has_no_threads_of_gencore(tmp_path):
    """Built-in plug-ins answer on the caller's thread."""
    pipeline = gencore.Pipeline(collectors=["raw"], directory=tmp_path, content="stacks")
    before = set(os.listdir("/proc/self/task"))  # of other tests, whose plug-ins hang
    names = set()
    for _ in range(5):
        report = pipeline.run()
        names |= {thread.name for thread in report.threads if str(thread.tid) not in before}

    assert not [name for name in names if name.startswith("gencore")]
