"""Artefacts go to a destination while they are made, through filters that let nothing else out."""

import gzip
import io
import json
import os
import tarfile
import threading
from concurrent.futures import CancelledError

import pytest

import gencore
from gencore import Destination, DestinationSpec, Filter, Upload
from gencore.testing import SimulatedBackend


class Memory(Destination):
    """Keeps what it is given, by name."""

    name = "memory"
    api_version = (1, 1)
    kept: dict
    events: list

    def open(self, name, size_hint):
        """Begin one."""
        self.events.append(("open", name, size_hint))
        return _Kept(self, name)


class _Kept(Upload):
    def __init__(self, place, name):
        self.place, self.name, self.body = place, name, io.BytesIO()

    def write(self, data):
        self.place.events.append(("write", self.name, len(data)))
        self.body.write(data)

    def commit(self):
        self.place.kept[self.name] = self.body.getvalue()
        self.place.events.append(("commit", self.name))
        return f"memory:{self.name}"

    def abort(self):
        self.place.events.append(("abort", self.name))


@pytest.fixture
def memory():
    """Return a destination's class with its own place."""
    return type("Place", (Memory,), {"kept": {}, "events": []})


class Deflate(Filter):
    """Compresses."""

    name = "deflate"
    api_version = (1, 1)
    suffix = ".gz"

    def open(self, writer):
        """Compress what is written."""
        return gzip.GzipFile(fileobj=writer, mode="wb")


class Mirror(Filter):
    """Turns every bit around, as an encryption might."""

    name = "mirror"
    api_version = (1, 1)
    suffix = ".mirror"

    def open(self, writer):
        """Turn what is written."""
        return _Mirror(writer)


class _Mirror:
    def __init__(self, writer):
        self.writer = writer

    def write(self, data):
        self.writer.write(bytes(byte ^ 0xFF for byte in data))

    def close(self):
        pass


class Secret(gencore.Collector):
    """Makes a file whose contents nobody may see."""

    name = "secret"
    api_version = (1, 1)

    def finish(self, dump):
        """Make it."""
        dump.create("secret.txt").write(b"the secret of the house")


def run(directory, *collectors, **options):
    options.setdefault("backend", SimulatedBackend(bytes(range(256)) * 64))
    return gencore.Pipeline(collectors=collectors, directory=directory, **options).run()


def mirrored(data):
    return bytes(byte ^ 0xFF for byte in data)


def test_a_bundle_is_sent_while_it_is_made(tmp_path, memory):
    """And nothing is written to the directory; the report says where it is."""
    memory_of_core = os.urandom(3 << 20)
    backend = SimulatedBackend(memory_of_core, chunk_size=1 << 20)

    report = run(tmp_path, "manifest", "archive", destination=memory, backend=backend)

    (artifact,) = report.artifacts
    (data,) = memory.kept.values()
    assert report.result == "complete"
    assert artifact.url == f"memory:{report.name}.tar.gz"
    assert (artifact.path, artifact.size) == (None, len(data))
    assert os.listdir(tmp_path) == []
    assert sum(event[0] == "write" for event in memory.events) > 3
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [name.partition("/")[2] for name in tar.getnames()] == ["core", "manifest.json"]


def test_what_is_not_packed_is_sent_for_itself(tmp_path, memory):
    """Each artefact under its own name."""
    report = run(tmp_path, "raw", "manifest", Secret, destination=memory)

    assert set(memory.kept) == {
        f"{report.name}.{name}" for name in ("core", "manifest.json", "secret.txt")
    }
    assert {a.name: a.size for a in report.artifacts} == {
        name.removeprefix(f"{report.name}."): len(data) for name, data in memory.kept.items()
    }


def test_filters_are_passed_in_order(tmp_path, memory):
    """What is reported, and the name, is of what came out of the last one."""
    report = run(tmp_path, Secret, destination=memory, filters=[Deflate, Mirror])

    ((name, data),) = memory.kept.items()
    (artifact,) = report.artifacts
    assert name == f"{report.name}.secret.txt.gz.mirror"
    assert gzip.decompress(mirrored(data)) == b"the secret of the house"
    assert (artifact.name, artifact.size) == ("secret.txt.gz.mirror", len(data))
    assert artifact.filters == ("deflate", "mirror")


@pytest.mark.parametrize("collectors", [("manifest", Secret, "archive"), ("raw", Secret)])
def test_with_a_filter_nothing_unfiltered_touches_the_disk(tmp_path, monkeypatch, collectors):
    """Neither a name nor a byte, in the directory or in the place for temporary files."""
    places = [tmp_path / "out", tmp_path / "tmp"]
    for place in places:
        place.mkdir()
    monkeypatch.setenv("TMPDIR", str(places[1]))
    seen = set()

    class Watches(Secret):
        name = "watches"

        def finish(self, dump):
            dump.create("watch.txt").write(b"the secret of the house")
            for place in places:
                seen.update(path for path in place.rglob("*") if path.is_file())

    report = run(places[0], *collectors, Watches, filters=[Mirror])

    assert report.result == "complete"
    written = {path for place in places for path in place.rglob("*") if path.is_file()}
    assert {path.suffix for path in written} == {".mirror"}
    for path in seen | written:
        assert not path.exists() or b"secret of the house" not in path.read_bytes()
    assert report.artifacts[0].path in written


def test_a_bundle_that_was_filtered_can_be_read_back(tmp_path):
    """By undoing the filter."""
    report = run(tmp_path, Secret, "manifest", "archive", filters=[Mirror])

    data = mirrored(report.path_of("archive").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        inner = tar.extractfile(f"{report.name}/secret.txt").read()
        manifest = json.load(tar.extractfile(f"{report.name}/manifest.json"))
    assert inner == b"the secret of the house"
    assert {row["name"] for row in manifest["files"]} == {"core", "secret.txt", "manifest.json"}


def test_a_backend_that_writes_a_file_is_refused_with_a_filter(tmp_path):
    """What it writes would be unfiltered."""

    class Writes(SimulatedBackend):
        streams = False

    with pytest.raises(gencore.Unsupported, match="before it can be filtered"):
        run(tmp_path, "raw", filters=[Mirror], backend=Writes())

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("when", ["open", "write", "commit"])
def test_a_destination_that_fails_is_named(tmp_path, memory, when):
    """Not the collector that wrote; nothing is left there, and the rest is sent."""

    def fails(*_):
        raise KeyError(when)

    class Fails(memory):
        def open(self, name, size_hint):
            if not name.endswith("secret.txt"):
                return super().open(name, size_hint)
            upload = super().open(name, size_hint)
            if when == "open":
                fails()
            setattr(upload, when, fails)
            return upload

    report = run(tmp_path, "raw", Secret, destination=Fails)

    (failed,) = report.failed
    assert failed.reason.startswith("destination 'memory': KeyError: '" + when)
    assert [a.name for a in report.artifacts] == ["core"]
    assert report.result == "partial"


def test_a_filter_that_fails_is_named(tmp_path, memory):
    """And what it had begun is aborted."""

    class Fails(Mirror):
        def open(self, writer):
            sink = _Mirror(writer)
            sink.close = lambda: 1 / 0
            return sink

    report = run(tmp_path, Secret, destination=memory, filters=[Fails])

    assert report.failed[0].reason.startswith("filter 'mirror': ZeroDivisionError")
    assert ("abort", f"{report.name}.secret.txt.mirror") in memory.events
    assert memory.kept == {}


@pytest.mark.parametrize("when", ["write", "close", "other-filter", "finish"])
def test_a_filters_sink_is_aborted_if_its_artefact_is_given_up(tmp_path, memory, when):
    """Once, also after it was closed; one without `abort` is closed, and nothing of it is sent."""
    calls = []

    class Aborts(Mirror):
        def open(self, writer):
            sink = _Mirror(writer)
            sink.close = lambda: calls.append("close")
            sink.abort = lambda: calls.append("abort")
            if when in {"write", "close"}:
                setattr(sink, when, lambda *_: 1 / 0)
            return sink

    class Closes(Mirror):
        def open(self, writer):
            if when == "other-filter":
                raise KeyError
            sink = _Mirror(writer)
            sink.close = lambda: calls.append("other closed") or writer.write(b"the rest")
            return sink

    class Fails(Secret):
        def finish(self, dump):
            file = dump.create("secret.txt")
            file.write(b"the secret of the house")
            file.close()
            if when == "finish":
                raise KeyError

    filters = [Closes, Aborts] if when == "other-filter" else [Aborts, Closes]
    report = run(tmp_path, Fails, destination=memory, filters=filters)

    assert report.result == "failed"
    assert (
        calls
        == {
            "write": ["abort", "other closed"],
            "close": ["abort"],
            "other-filter": ["abort"],
            "finish": ["close", "other closed", "abort"],
        }[when]
    )
    assert memory.kept == {}
    happened = [event[0] for event in memory.events]
    assert happened.count("abort") == 1
    assert when != "write" or happened == ["open", "abort"]


@pytest.mark.parametrize("role", ["destination", "filters"])
def test_a_check_that_fails_refuses_the_dump(tmp_path, memory, role):
    """Before the pause; Pipeline.check says the same."""

    def check(_):
        raise PermissionError("no key")

    bad = {
        "destination": type("Bad", (memory,), {"check": check}),
        "filters": [type("Bad", (Mirror,), {"check": check})],
    }
    pipeline = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=tmp_path, **{role: bad[role]}
    )

    for ask in (pipeline.check, pipeline.run):
        with pytest.raises(gencore.Refused, match=r"cannot be used: PermissionError: no key"):
            ask()
    assert os.listdir(tmp_path) == []


def test_what_was_to_be_packed_is_sent_if_the_core_failed(tmp_path, memory):
    """It was held in memory until then."""
    failure = gencore.CoreFailed("simulated")

    report = run(
        tmp_path, Secret, "archive", destination=memory, backend=SimulatedBackend(failure=failure)
    )

    assert memory.kept == {f"{report.name}.secret.txt": b"the secret of the house"}
    assert [a.url for a in report.artifacts] == [f"memory:{report.name}.secret.txt"]


def test_a_cancelled_dump_leaves_nothing_at_the_destination(tmp_path, memory):
    """What was begun is aborted."""
    entered, leave = threading.Event(), threading.Event()

    class Waits(Secret):
        def finish(self, dump):
            super().finish(dump)
            entered.set()
            leave.wait(20)

    pipeline = gencore.Pipeline(
        backend=SimulatedBackend(),
        collectors=["raw", Waits],
        directory=tmp_path,
        destination=memory,
    )
    dump = pipeline.start()
    entered.wait(20)
    assert dump.cancel()
    leave.set()
    with pytest.raises(CancelledError):
        dump.result(20)

    assert memory.kept == {}
    assert {event[0] for event in memory.events if event[0] in {"abort", "commit"}} == {"abort"}


def test_a_pipe_takes_a_whole_bundle(tmp_path):
    """It is read while it is made; no disk is needed."""
    read_end, write_end = os.pipe()
    received = []

    def read():
        with os.fdopen(read_end, "rb") as pipe:
            received.append(pipe.read())

    reader = threading.Thread(target=read)
    reader.start()
    spec = DestinationSpec("descriptor", options={"file": write_end})
    report = run(tmp_path, "manifest", "archive", destination=spec)
    os.close(write_end)
    reader.join()

    assert report.artifacts[0].url == f"fd:{write_end}"
    with tarfile.open(fileobj=io.BytesIO(received[0])) as tar:
        assert len(tar.getnames()) == 2
    assert os.listdir(tmp_path) == []


def test_a_descriptor_takes_one_artifact(tmp_path):
    """The second one is an error that says what to do."""
    with (tmp_path / "out").open("wb") as file:
        spec = DestinationSpec("descriptor", options={"file": file})
        report = run(tmp_path, "raw", "manifest", destination=spec)

    assert [f.part for f in report.failed] == ["manifest"]
    assert "takes one artefact" in report.failed[0].reason
    assert "archive" in report.failed[0].reason


def test_a_terminal_is_refused(tmp_path):
    """Before the pause."""
    _, terminal = os.openpty()
    spec = DestinationSpec("descriptor", options={"file": terminal})

    with pytest.raises(gencore.Refused, match="is a terminal"):
        run(tmp_path, "raw", destination=spec)


def test_a_directory_is_a_destination_too(tmp_path):
    """With the same promises: no name before it is whole, and none is ever replaced."""
    spec = DestinationSpec("directory", options={"path": str(tmp_path)})
    report = run("/nonexistent", "raw", destination=spec, name="fixed")
    again = run("/nonexistent", "raw", destination=spec, name="fixed")

    assert report.path_of("raw") == tmp_path / "fixed.core"
    assert again.result == "failed"
    assert os.listdir(tmp_path) == ["fixed.core"]
