"""A third party's sink that is slow, hangs or raises costs its collector, and delays no other."""

import tarfile
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

import gencore
from gencore.testing import SimulatedBackend
from gencore_collectors.raw import RawCollector

MIB = 1 << 20


def memory():
    """Return six MiB that differ; nothing keeps them, else each dump of this process has them."""
    return b"".join(bytes([number]) * MIB for number in range(6))


@pytest.fixture
def gate(settled):
    """Return what slow sinks wait for; opened at the end, and waited for."""
    opened = threading.Event()
    yield opened
    opened.set()
    settled()


@pytest.fixture
def small_queues(monkeypatch):
    """Let a queue hold one chunk, and a dump wait no longer than a moment for it."""
    monkeypatch.setattr("gencore._pipeline.sink_queue._CAPACITY", MIB)
    monkeypatch.setattr("gencore._pipeline.sink_queue._STALL_LIMIT", 0.2)


class Takes(gencore.Collector, gencore.CoreSink):
    """Keeps the bytes, and notes its calls and the threads that make them."""

    name = "takes"
    api_version = (1, 0)

    def __init__(self):
        self.core = bytearray()
        self.calls = []
        self.threads = set()

    def begin(self, _dump):
        self.threads.add(threading.get_ident())
        return self

    def write(self, chunk):
        self.threads.add(threading.get_ident())
        self.calls.append("write")
        self.core += chunk

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")

    def finish(self, _dump):
        self.calls.append("finish")


def waiting(gate, method="write"):
    """Return a collector of which one call waits for the gate."""
    made = Takes()
    call = getattr(made, method)

    def wait(*args):
        gate.wait(60)
        call(*args)

    setattr(made, method, wait)
    return made


class OneBuffer(gencore.CoreStream):
    """Yields the same buffer again and again, as the contract permits."""

    def __init__(self, core):
        self._core = core

    @property
    def size(self):
        return self._core.size

    def __iter__(self):
        buffer = bytearray(MIB)
        for chunk in self._core:
            buffer[: len(chunk)] = chunk
            yield memoryview(buffer)[: len(chunk)]
            buffer[:] = bytes(MIB)

    def wait(self):
        pass


class Reuses(SimulatedBackend):
    """Gives the core in one buffer."""

    on_wait = staticmethod(lambda: None)

    def snapshot(self, *args, **options):
        taken = super().snapshot(*args, **options)
        core = OneBuffer(taken.core())
        core.wait = self.on_wait
        taken.core = lambda: core
        return taken


def backend():
    return Reuses(memory=memory(), chunk_size=MIB)


def start(tmp_path, *collectors, **options):
    options = {"backend": backend(), "directory": tmp_path, **options}
    return gencore.start(collectors=collectors, **options)


def test_a_slow_sink_is_not_waited_for_while_the_core_is_read(tmp_path, gate):
    """The backend has ended before the sink has taken a byte, and then it gets them all."""
    core_is_read = threading.Event()
    source = backend()
    source.on_wait = lambda: (core_is_read.set(), gate.set())
    slow = waiting(gate)

    report = start(tmp_path, lambda: slow, "raw", backend=source).result(60)

    assert core_is_read.is_set()
    assert report.result == "complete"
    assert bytes(slow.core) == report.path_of("raw").read_bytes()
    assert slow.calls[-2:] == ["close", "finish"]


def test_a_clone_has_ended_before_a_slow_sink_has_taken_its_core(tmp_path, gate, new_children):
    """Of gencore's own backend: its process does not live as long as the sink needs."""
    slow = waiting(gate)
    dump = gencore.start(
        backend="linux-elf",
        collectors=["archive", lambda: slow],
        directory=tmp_path,
        content="stacks",
    )
    end = time.monotonic() + 60
    while any(map(is_running, new_children())):
        assert time.monotonic() < end
        time.sleep(0.005)
    assert slow.calls == []
    gate.set()

    report = dump.result(60)
    assert report.result == "complete"
    with tarfile.open(report.path_of("archive")) as tar:
        assert tar.extractfile(f"{report.name}/core").read() == bytes(slow.core)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


@pytest.mark.usefixtures("small_queues")
def test_a_sink_that_is_slower_than_the_core_is_given_up(tmp_path, gate):
    """The others get the whole core, and the report names it."""
    slow = waiting(gate)

    report = start(tmp_path, lambda: slow, "raw", "archive", "manifest").result(60)

    assert [part.part for part in report.failed] == ["takes"]
    assert isinstance(report.failed[0].error, gencore.TimedOut)
    expected = (
        "'takes' is slower than the core: it took 0 of 6 MiB, and held the dump up for 0.2 s"
    )
    assert expected in report.failed[0].reason
    core = report.path_of("raw").read_bytes()
    assert core.endswith(memory())
    with tarfile.open(report.path_of("archive")) as tar:
        assert tar.extractfile(f"{report.name}/core").read() == core
    assert "finish" not in slow.calls


@pytest.mark.usefixtures("small_queues")
def test_a_full_queue_is_waited_for(tmp_path):
    """A sink that lags behind now and then gets every byte in order."""
    slow = Takes()

    report = start(tmp_path, lambda: slow, "raw").result(60)

    assert report.result == "complete"
    assert bytes(slow.core) == report.path_of("raw").read_bytes()


@pytest.mark.usefixtures("small_queues")
def test_a_sink_that_is_given_up_is_aborted_after_its_call(tmp_path, gate, settled):
    """Once, by the thread that was left behind in it."""
    slow = waiting(gate)
    start(tmp_path, lambda: slow, "raw").result(60)
    assert slow.calls == []
    gate.set()
    settled()

    assert slow.calls == ["write", "abort"]


@pytest.mark.parametrize("method", ["write", "close"])
@pytest.mark.parametrize("error", [OSError("no"), SystemExit(3)])
def test_a_sink_that_raises_costs_its_collector(tmp_path, method, error):
    """The report has what it raised; the core is published whole."""
    bad = Takes()

    def raises(*_):
        bad.calls.append(method)
        raise error

    setattr(bad, method, raises)
    report = start(tmp_path, lambda: bad, "raw").result(60)

    assert [part.part for part in report.failed] == ["takes"]
    assert type(error).__name__ in report.failed[0].reason
    assert [artifact.collector for artifact in report.artifacts] == ["raw"]
    assert bad.calls[-2:] == [method, "abort"]
    assert bad.calls.count(method) == 1


@pytest.mark.parametrize("method", ["write", "close"])
def test_a_dump_is_cancelled_although_a_sink_hangs(tmp_path, gate, settled, method):
    """Nothing is left but the thread that hangs; the sink is aborted when that returns."""
    entered = threading.Event()
    slow = waiting(gate, method)
    inner = getattr(slow, method)
    setattr(slow, method, lambda *args: entered.set() or inner(*args))
    slow.time_limit = None
    dump = start(tmp_path, lambda: slow, "raw")
    assert entered.wait(20)

    assert dump.cancel()
    with pytest.raises(CancelledError):
        dump.result(30)
    assert list(tmp_path.iterdir()) == []
    assert "abort" not in slow.calls
    gate.set()
    settled()

    assert slow.calls[-2:] == [method, "abort"]


def test_a_sink_gets_no_more_bytes_once_its_dump_is_stopped(tmp_path, gate):
    """Although they are in its queue."""
    source, taken, started = backend(), Takes(), threading.Event()
    source.on_wait = gate.set
    write = taken.write

    def cancel(chunk):
        write(chunk)
        gate.wait(60)
        started.wait(60)
        dump.cancel()

    taken.write = cancel
    dump = start(tmp_path, lambda: taken, backend=source)
    started.set()
    with pytest.raises(CancelledError):
        dump.result(30)

    assert taken.calls == ["write", "abort"]


def test_the_time_limit_of_a_dump_ends_a_sink_that_hangs(tmp_path, gate):
    """The report says so, and no file is left."""
    slow = waiting(gate)

    report = start(tmp_path, lambda: slow, "raw", timeout=0.3).result(30)

    assert report.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_a_core_that_fails_aborts_the_sinks(tmp_path):
    """They are not closed, and finish without it."""
    source, taken = backend(), Takes()

    def fails():
        raise gencore.CoreFailed("write")

    source.on_wait = fails
    report = start(tmp_path, lambda: taken, "raw", backend=source).result(60)

    assert report.result == "failed"
    assert "close" not in taken.calls
    assert taken.calls.count("abort") == 1
    assert taken.calls[-1] == "finish"


def test_a_sink_that_hangs_when_the_core_fails_is_not_called_again(tmp_path, gate):
    """Its collector would be in two calls at once: it is reported too."""
    source, slow = backend(), waiting(gate)

    def fails():
        raise gencore.CoreFailed("write")

    source.on_wait = fails
    report = start(tmp_path, lambda: slow, "raw", backend=source).result(60)

    assert [part.part for part in report.failed] == ["core", "takes"]
    assert "the sink of collector 'takes' did not return within 1 s" in report.failed[1].reason
    assert slow.calls == []


def test_without_a_thread_for_it_a_sink_is_called_directly(tmp_path, refuse_thread):
    """On the thread that calls all plug-ins."""
    refuse_thread("gencore-sink")
    taken = Takes()

    report = start(tmp_path, lambda: taken, "raw").result(60)

    assert report.result == "complete"
    assert len(taken.threads) == 1
    assert bytes(taken.core) == report.path_of("raw").read_bytes()


def test_a_sink_of_gencores_own_is_called_directly(tmp_path, monkeypatch):
    """Without a copy, by name and as a class."""
    monkeypatch.setattr("gencore._pipeline.participant.SinkQueue", None)

    for raw in ("raw", RawCollector):
        assert start(tmp_path, raw).result(60).result == "complete"
