"""Artefacts go to a destination while they are made, through filters that let nothing else out."""

import contextlib
import gzip
import io
import json
import os
import tarfile
import threading
from concurrent.futures import CancelledError
from pathlib import Path

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


class Bound(Memory):
    """Takes bytes on the thread on which it was opened only, as a connection of sqlite3 does."""

    def open(self, name, _size_hint):
        """Begin one."""
        return _Bound(self, name)


class _Bound(_Kept):
    def __init__(self, place, name):
        super().__init__(place, name)
        self.thread = threading.get_ident()

    def write(self, data):
        assert threading.get_ident() == self.thread
        super().write(data)


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


class Twin(Secret):
    """Makes another one."""

    name = "twin"

    def finish(self, dump):
        """Make it."""
        dump.create("twin.txt").write(b"its twin")


def run(directory, *collectors, **options):
    options.setdefault("backend", SimulatedBackend(bytes(range(256)) * 64))
    return gencore.Pipeline(collectors=collectors, directory=directory, **options).run()


def mirrored(data):
    return bytes(byte ^ 0xFF for byte in data)


def test_a_bundle_is_sent_while_it_is_made(tmp_path, memory, packer, open_tar):
    """And nothing is written to the directory; the report says where it is."""
    memory_of_core = os.urandom(3 << 20)
    backend = SimulatedBackend(memory_of_core, chunk_size=1 << 20)

    report = run(tmp_path, "manifest", packer.name, destination=memory, backend=backend)

    (artifact,) = report.artifacts
    (data,) = memory.kept.values()
    assert report.result == "complete"
    assert artifact.url == f"memory:{report.name}.{packer.codec.extension}"
    assert (artifact.path, artifact.size) == (None, len(data))
    assert os.listdir(tmp_path) == []
    assert sum(event[0] == "write" for event in memory.events) > 3
    with open_tar(data) as tar:
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


@pytest.mark.parametrize(
    "collectors",
    [("manifest", Secret, "archive"), ("manifest", Secret, "archive-zstd"), ("raw", Secret)],
)
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


def test_a_bundle_that_was_filtered_can_be_read_back(tmp_path, packer, open_tar):
    """By undoing the filter."""
    report = run(tmp_path, Secret, "manifest", packer.name, filters=[Mirror])

    data = mirrored(report.path_of(packer.name).read_bytes())
    with open_tar(data) as tar:
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


async def never_awaited(*_):
    """Do nothing, when it is called."""


@pytest.mark.parametrize("method", ["open", "write", "commit", "check"])
def test_a_destination_must_not_be_asynchronous(tmp_path, memory, method):
    """Nobody would await it: an artefact would be reported that is nowhere."""
    if method in {"open", "check"}:
        setattr(memory, method, never_awaited)
    else:
        upload = type("Upload", (_Kept,), {method: never_awaited})
        memory.open = lambda place, name, _hint: upload(place, name)

    if method == "check":
        with pytest.raises(gencore.Refused, match=r"destination 'memory'.*coroutine"):
            run(tmp_path, Secret, destination=memory)
        return
    report = run(tmp_path, Secret, destination=memory)

    (failed,) = report.failed
    assert "destination 'memory'" in failed.reason
    assert "coroutine" in failed.reason
    assert report.artifacts == ()


@pytest.mark.parametrize("location", [None, "", 7, b"url", object(), {"a": 1}])
def test_a_commit_must_return_a_url_or_a_path(tmp_path, memory, location):
    """Else nobody finds what was sent."""
    upload = type("Upload", (_Kept,), {"commit": lambda _: location})
    memory.open = lambda place, name, _hint: upload(place, name)

    report = run(tmp_path, Secret, destination=memory)

    (failed,) = report.failed
    assert "destination 'memory'" in failed.reason
    assert "expected a URL or a Path" in failed.reason


@pytest.mark.parametrize("returned", [None, 7, io.BytesIO])
def test_open_must_return_an_upload(tmp_path, memory, returned):
    """The error names the destination, and no attribute of the framework's."""
    memory.open = lambda *_: returned() if callable(returned) else returned

    report = run(tmp_path, Secret, destination=memory)

    assert "destination 'memory'" in report.failed[0].reason
    assert "expected an Upload" in report.failed[0].reason


@pytest.mark.parametrize("returned", [None, 7, object()])
def test_a_filter_must_return_a_sink(tmp_path, memory, returned):
    """The error names the filter, and nothing was sent."""
    bad = type("Bad", (Mirror,), {"open": lambda *_: returned})

    report = run(tmp_path, Secret, destination=memory, filters=[bad])

    assert "filter 'mirror'" in report.failed[0].reason
    assert "write() and close()" in report.failed[0].reason
    assert [event[0] for event in memory.events] == ["open", "abort"]


@pytest.mark.parametrize("role", ["destination", "filter"])
def test_an_object_serves_one_artefact(tmp_path, memory, role):
    """Two in one would be neither."""
    once = []

    def same(plugin, *args):
        once.append(kind.open(plugin, *args))
        return once[0]

    kind = memory if role == "destination" else Mirror
    shares = type("Shares", (kind,), {"open": same})
    options = {"destination": shares} if role == "destination" else {"filters": [shares]}

    report = run(tmp_path, Secret, Twin, **{"destination": memory, **options})

    assert [artifact.collector for artifact in report.artifacts] == ["secret"]
    (failed,) = report.failed
    assert failed.part == "twin"
    assert "for two artefacts" in failed.reason


@pytest.mark.parametrize("to", ["files", "destination", "bundle"])
def test_nothing_is_written_to_an_artefact_that_is_finished(tmp_path, memory, to):
    """Neither by a collector that keeps its writer, nor by what a filter leaves behind."""
    kept, refused = [], []

    class Keeps(Secret):
        def finish(self, dump):
            kept.append(dump.create("kept.txt"))
            kept[0].write(b"12345")

    class Later(Twin):
        def finish(self, _dump):
            with pytest.raises(ValueError, match="closed") as caught:
                kept[0].write(b"sneaked in")
            refused.append(caught.value)

    options = {} if to == "files" else {"destination": memory}
    report = run(tmp_path, Keeps, Later, *(["archive"] if to == "bundle" else []), **options)

    assert refused
    assert report.result == "complete"
    with pytest.raises(ValueError, match="closed"):
        kept[0].write(b"after the dump")
    assert b"sneaked" not in b"".join(memory.kept.values())


def test_a_filter_writes_nothing_after_it_was_closed(tmp_path, memory):
    """Its artefact was measured then, and may be committed."""
    writers = []

    class KeepsWriter(Mirror):
        def open(self, writer):
            writers.append(writer)
            return _Mirror(writer)

    class Later(Twin):
        def finish(self, _dump):
            with pytest.raises(ValueError, match="closed"):
                writers[0].write(b"late")

    report = run(tmp_path, Secret, Later, destination=memory, filters=[KeepsWriter])

    assert report.result == "complete"
    assert [mirrored(data) for data in memory.kept.values()] == [b"the secret of the house"]


@pytest.mark.parametrize("to", ["destination", "filter"])
@pytest.mark.parametrize("method", ["write", "close"])
def test_an_error_that_a_collector_swallows_costs_its_artefact(tmp_path, memory, to, method):
    """What was written after it is not the whole."""
    calls = []

    def fails(*_):
        calls.append(method)
        if len(calls) == 1:
            raise OSError("link lost for a moment")

    class Swallows(Secret):
        def finish(self, dump):
            file = dump.create("secret.txt")
            for part in (b"one ", b"two ", b"three "):
                with contextlib.suppress(Exception):
                    file.write(part)
            with contextlib.suppress(Exception):
                file.close()

    sink = type("Sink", (_Mirror,), {method: fails})
    filters = [type("Fails", (Mirror,), {"open": lambda _, writer: sink(writer)})]
    if to == "destination":
        upload = type("Upload", (_Kept,), {"write": fails})
        memory.open = lambda place, name, _hint: upload(place, name)

    report = run(tmp_path, Swallows, destination=memory, filters=filters if to == "filter" else [])

    assert "link lost for a moment" in report.failed[0].reason
    assert report.artifacts == ()
    assert memory.kept == {}
    assert [event[0] for event in memory.events].count("abort") == 1


@pytest.mark.parametrize("filters", [[], [Mirror]])
def test_a_commit_that_raises_is_followed_by_abort(tmp_path, memory, filters):
    """Whatever it has left at the place is taken back."""

    def commit(upload):
        upload.place.events.append(("commit", upload.name))
        raise OSError("answer lost")

    upload = type("Upload", (_Kept,), {"commit": commit})
    memory.open = lambda place, name, _hint: upload(place, name)

    report = run(tmp_path, Secret, destination=memory, filters=filters)

    assert [failed.part for failed in report.failed] == ["secret"]
    assert [event[0] for event in memory.events][-2:] == ["commit", "abort"]


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


@pytest.mark.parametrize("moment", ["pipeline built", "observe", "finish"])
@pytest.mark.parametrize(
    "options",
    [
        {"destination": DestinationSpec("directory", options={"path": "here"})},
        {"destination": DestinationSpec("gencore:directory", options={"path": "here"})},
        {"destination": "directory", "directory": "here"},
        {"filters": [Mirror], "directory": "here"},
    ],
    ids=["option", "full-name", "of-the-pipeline", "with-a-filter"],
)
def test_a_relative_path_means_one_directory(tmp_path, monkeypatch, options, moment):
    """That of the time at which the pipeline was built, wherever the process goes later."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def moves(*_):
        os.chdir(tmp_path / "elsewhere")

    movers = {"observe": {"observe": moves}, "finish": {"finish": moves}}.get(moment, {})
    mover = type("Moves", (Twin,), {"finish": lambda *_: None, **movers})
    pipeline = gencore.Pipeline(collectors=[mover, Secret], backend=SimulatedBackend(), **options)
    if moment == "pipeline built":
        moves()

    (artifact,) = pipeline.run().artifacts

    assert artifact.path.parent == tmp_path / "here"


def test_an_empty_path_is_no_directory():
    """It would be the current one."""
    with pytest.raises(gencore.UsageError, match="path=''"):
        gencore.Pipeline(destination=DestinationSpec("directory", options={"path": ""}))


def test_a_name_that_is_taken_is_known_before_the_pause(tmp_path):
    """As without a destination; `Pipeline.check` has no name to ask for."""
    options = {"destination": "directory", "name": "fixed", "backend": SimulatedBackend()}
    pipeline = gencore.Pipeline(collectors=[Secret], directory=tmp_path, **options)
    pipeline.check()
    pipeline.run()
    pipeline.check()

    with pytest.raises(gencore.OutputError, match=r"file exists.*Remedy: put \{id\}"):
        pipeline.run()

    assert os.listdir(tmp_path) == ["fixed.secret.txt"]


BAD_NAMES = [
    None,
    7,
    "",
    "a/b",
    "a\nb",
    "\x1b[31m",
    "Upper",
    "x" * 65,
    type("Text", (str,), {})("x"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("role", ["collector", "destination", "filter"])
def test_a_plug_in_that_cannot_have_its_name_is_refused_before_the_pause(tmp_path, role, name):
    """The name is printed, and becomes part of others."""
    kinds = {"collector": Secret, "destination": Memory, "filter": Mirror}
    bad = type("Bad", (kinds[role],), {"name": name})
    collectors = [bad] if role == "collector" else [Secret]
    options = {"destination": bad} if role == "destination" else {}
    options |= {"filters": [bad]} if role == "filter" else {}
    pauses = []
    backend = SimulatedBackend()
    monkeyed = backend.snapshot
    backend.snapshot = lambda *a, **k: pauses.append(1) or monkeyed(*a, **k)

    with pytest.raises(gencore.GencoreError, match=r"its name is .*lower-case"):
        run(tmp_path, *collectors, backend=backend, **options)

    assert not pauses


@pytest.mark.parametrize(
    "suffix", [None, 5, "", "x", ".", "/x", "./x", "/../../x", ".\n", ".\x1b[31m", "." + "x" * 32]
)
def test_a_suffix_that_no_file_can_have_is_refused_before_the_pause(tmp_path, memory, suffix):
    """Nothing was opened yet."""
    bad = type("Bad", (Mirror,), {"suffix": suffix})

    with pytest.raises(gencore.Refused, match=r"filter .mirror. cannot be used: .*its suffix is"):
        run(tmp_path, Secret, destination=memory, filters=[bad])

    assert memory.events == []


def test_a_directory_is_a_destination_too(tmp_path):
    """With the same promises: no name before it is whole, and none is ever replaced."""
    spec = DestinationSpec("directory", options={"path": str(tmp_path)})
    report = run("/nonexistent", "raw", destination=spec, name="fixed")
    with pytest.raises(gencore.OutputError, match="file exists"):
        run("/nonexistent", "raw", destination=spec, name="fixed")

    assert report.path_of("raw") == tmp_path / "fixed.core"
    assert os.listdir(tmp_path) == ["fixed.core"]


def removal(name, error=None):
    return gencore.Removal(path=Path(name), size=5, reason="old", error=error)


def test_a_destination_may_remove_earlier_dumps(tmp_path, memory):
    """Before the pause and after the last commit, each with the names that are meant."""
    asked = []

    def make_room(_, names):
        assert not memory.kept
        asked.append(names)
        return [removal("first")]

    def limit(_, dump, names):
        assert memory.kept
        asked.append(names)
        assert names.fullmatch(dump)
        yield removal("second")
        yield removal("third", "busy")

    place = type("Limits", (memory,), {"make_room": make_room, "limit": limit})

    report = run(tmp_path, Secret, destination=place)

    assert len(asked) == 2
    assert report.removed == (removal("first"), removal("second"))
    assert report.warnings == ("not removed third (0.0 MiB, old): busy",)
    assert report.result == "complete"


def test_a_limit_that_fails_costs_no_dump(tmp_path, memory):
    """What has been removed until then is in the report."""

    def limit(*_):
        yield removal("first")
        raise PermissionError("no key")

    report = run(tmp_path, Secret, destination=type("Bad", (memory,), {"limit": limit}))

    assert report.result == "complete"
    assert report.removed == (removal("first"),)
    (warning,) = report.warnings
    assert warning == "limit() of destination 'memory' failed: PermissionError: no key"


@pytest.mark.parametrize("returned", [None, [None], ["path"], 5])
def test_what_is_no_removal_is_named(tmp_path, memory, returned):
    """Of `make_room` it refuses the dump, of `limit` it is a warning."""
    early = type("Bad", (memory,), {"make_room": lambda *_: returned})
    late = type("Bad", (memory,), {"limit": lambda *_: returned})

    with pytest.raises(gencore.Refused, match=r"'memory' cannot be used: TypeError: "):
        run(tmp_path, Secret, destination=early)
    report = run(tmp_path, Secret, destination=late)

    assert report.result == "complete"
    assert "limit() of destination 'memory' failed: TypeError: " in report.warnings[0]


@pytest.mark.parametrize("filters", [[], [Mirror]])
def test_a_destination_may_leave_the_files_to_the_framework(tmp_path, memory, filters):
    """Unless a filter changes them: then it is asked for an upload."""
    files = type("Files", (memory,), {"directory": tmp_path})

    report = run("/nonexistent", Secret, destination=files, filters=filters, name="fixed")

    written = [] if filters else ["fixed.secret.txt"]
    assert os.listdir(tmp_path) == written
    assert [a.path for a in report.artifacts if a.path] == [tmp_path / name for name in written]
    assert list(memory.kept) == ["fixed.secret.txt.mirror"] * bool(filters)


@pytest.mark.parametrize("filters", [[], [Deflate]], ids=["no filter", "a filter"])
def test_a_bundle_is_sent_by_one_thread(filters):
    """A plug-in may use what belongs to a thread; for gencore's own files there is another."""
    place = type("Place", (Bound,), {"kept": {}, "events": []})

    report = gencore.Pipeline(
        collectors=["archive"], content="stacks", destination=place, filters=filters, force=True
    ).run()

    assert report.result == "complete", report.failed
    assert len(place.kept) == 1
