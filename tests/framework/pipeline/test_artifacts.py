"""Artefacts are what the framework has counted, whatever their collector says of them."""

import array
import copy
import io
import json
import logging
import os
import subprocess
import sys
import tarfile

import attrs
import pytest

import gencore
from gencore import Artifact, CollectorSpec
from gencore.bundle import BundleReader, BundleWriter, verify
from gencore.collector import Packing
from gencore.testing import SimulatedBackend


class Mine(gencore.Collector):
    """Makes one file."""

    name = "mine"
    api_version = (1, 1)

    def make(self, dump, name="mine.txt"):
        """Make it, and describe it truly."""
        with dump.create(name) as file:
            file.write(b"hello")
        return file.artifact()

    def finish(self, dump):
        """Make it."""
        self.make(dump)


def collector(finish, **attributes):
    """Return a collector with that finish()."""
    return type("Other", (Mine,), {"finish": finish, **attributes})


class Keeps(gencore.Destination):
    """Keeps artefacts in memory."""

    name = "keeps"
    api_version = (1, 1)

    def __init__(self, kept):
        self.kept = kept

    def open(self, name, _size_hint):
        """Keep one."""
        return Kept(self.kept, name)


class Kept(gencore.Upload):
    def __init__(self, kept, name):
        self.kept, self.name, self.body = kept, name, io.BytesIO()

    def write(self, data):
        self.body.write(data)

    def commit(self):
        self.kept[self.name] = self.body.getvalue()
        return self.name

    def abort(self):
        self.body.close()


def run(directory, *collectors, **options):
    options.setdefault("backend", SimulatedBackend())
    return gencore.Pipeline(collectors=collectors, directory=directory, **options).run()


def members(path):
    with tarfile.open(path) as tar:
        return {name.partition("/")[2] for name in tar.getnames()}


def changed(**facts):
    """Return a finish() that says other things of its file than are true."""
    return lambda self, dump: [attrs.evolve(self.make(dump), **facts)]


def endless(self, dump):
    """Give the same one over and over."""
    artifact = self.make(dump)
    while True:
        yield artifact


def of_others(self, dump):
    """Hand back what others have made."""
    return [self.make(dump), *dump.artifacts]


class Lies(str):
    """Claims to be another text."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, _other):
        return True


BAD = {
    "negative size": changed(size=-5),
    "wrong size": changed(size=99_999),
    "size as text": changed(size="5"),
    "wrong hash": changed(sha256="0" * 64),
    "hash that is no text": changed(sha256=object()),
    "another name": changed(name="ghost"),
    "name that lies": changed(name=Lies("mine.txt")),
    "twice": lambda self, dump: [self.make(dump)] * 2,
    "endless": endless,
    "of others": of_others,
    "no artefact": lambda self, dump: [self.make(dump), "mine.txt"],
    "no list": lambda self, dump: self.make(dump),
    "the core's name": lambda self, dump: self.make(dump, "core"),
    "a place outside": lambda self, dump: self.make(dump, "../outside"),
    "a terminal's language": lambda self, dump: self.make(dump, "\x1b[31mred"),
    "no UTF-8": lambda self, dump: self.make(dump, "caf\udce9"),
    "too long a name": lambda self, dump: self.make(dump, "x" * 201),
    "clears the report": lambda _, dump: dump.artifacts.clear(),
    "adds to the report": lambda _, dump: dump.failed.append("oops"),
    "takes the core away": lambda _, dump: setattr(dump, "core", None),
    "closes the output": lambda _, dump: dump.output.close(),
    "skips what is no text": lambda _, dump: dump.skip(None, object()),
    "opens the core": lambda _, dump: dump.output.open("tar.gz"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_artifact_costs_its_collector_alone(tmp_path, kind):
    """The bundle is made without it, can be read, and the report names who was wrong."""
    report = run(tmp_path, "manifest", collector(BAD[kind]), "archive", timeout=20)

    assert [failed.part for failed in report.failed] == ["mine"]
    assert report.result == "partial"
    with BundleReader(report.path_of("archive")) as bundle:
        assert all(check.ok for check in verify(bundle))
    assert members(report.path_of("archive")) == {"core", "manifest.json"}
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"longer than it was"),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.unlink(),
    ],
    ids=["grows", "link", "fifo", "directory", "removed"],
)
def test_a_file_that_was_changed_behind_its_writer_is_found(tmp_path, change):
    """Before anything packs or publishes it."""

    def finish(self, dump):
        self.make(dump)
        (private,) = tmp_path.glob(".*.part")
        change(private / "mine.txt")

    report = run(tmp_path, collector(finish), "archive", timeout=20)

    assert [failed.part for failed in report.failed] == ["mine"]
    assert members(report.path_of("archive")) == {"core"}


CHANGES = [
    lambda mapping: mapping.update(x="forged"),
    lambda mapping: mapping.setdefault("x", "forged"),
    lambda mapping: mapping.__setitem__("x", "forged"),
    lambda mapping: mapping.__delitem__("x"),
    lambda mapping: mapping.__ior__({"x": "forged"}),
    lambda mapping: mapping.pop("x", None),
    lambda mapping: mapping.popitem(),
    lambda mapping: mapping.clear(),
]


def test_nothing_of_a_dump_can_be_changed(tmp_path):
    """Neither its attributes nor what is in them: the manifest repeats it."""

    def finish(_, dump):
        mappings = [dump.request.annotations, dump.plugins[0], dump.pause.phases]
        mappings += [dump.facts.runtime, dump.facts.runtime["flags"], dump.facts.annotations]
        for mapping in mappings:
            before = json.dumps(mapping)
            for change in CHANGES:
                with pytest.raises(TypeError, match="read-only"):
                    change(mapping)
            assert json.dumps(mapping) == before
            assert copy.deepcopy(mapping) == mapping.copy() == mapping

    report = run(tmp_path, collector(finish), "manifest", annotations={"a": "b"})

    assert report.result == "complete"
    assert "forged" not in report.path_of("manifest").read_text()


def test_what_a_collector_creates_is_its_artifact(tmp_path):
    """Whether finish() returns it, yields it or says nothing, closed or not."""

    def leaves_open(_, dump):
        dump.create("open.txt").write(b"hello")

    def yields(self, dump):
        yield self.make(dump, "yielded.txt")

    report = run(
        tmp_path, Mine, collector(leaves_open, name="open"), collector(yields, name="yields")
    )

    assert report.result == "complete"
    assert {a.name: (a.size, a.path.read_bytes()) for a in report.artifacts} == {
        "mine.txt": (5, b"hello"),
        "open.txt": (5, b"hello"),
        "yielded.txt": (5, b"hello"),
    }


@pytest.mark.parametrize("to", ["files", "memory", "destination"])
@pytest.mark.parametrize("data", [array.array("d", [1.0] * 100), memoryview(bytes(800)).cast("Q")])
def test_what_is_written_is_measured_in_bytes(tmp_path, data, to):
    """Whatever its items are."""
    kept, sizes = {}, []
    options = {} if to == "files" else {"destination": lambda: Keeps(kept)}
    writes = collector(lambda _, dump: sizes.append(dump.create("x.bin").write(data)))

    report = run(tmp_path, writes, *(["archive"] if to == "memory" else []), **options)

    assert report.result == "complete"
    assert sizes == [800]
    (artifact,) = report.artifacts
    if to == "memory":
        (bundle,) = kept.values()
        with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
            assert tar.getmember(f"{report.name}/x.bin").size == 800
    else:
        assert artifact.size == 800


@pytest.mark.parametrize("to", ["files", "memory", "destination"])
def test_a_name_is_taken_once_in_a_dump(tmp_path, to):
    """The second collector fails and names the first, whose artefact stays as it was made."""
    kept = {}
    packers = ["archive"] if to == "memory" else []
    options = {} if to == "files" else {"destination": lambda: Keeps(kept)}
    first = collector(lambda _, dump: dump.create("x.txt").write(b"first") and None, name="first")
    second = collector(
        lambda _, dump: dump.create("x.txt").write(b"the second") and None, name="second"
    )

    report = run(tmp_path, first, second, *packers, **options)

    (failed,) = report.failed
    assert failed.part == "second"
    assert "'x.txt' is taken by collector 'first'" in failed.reason
    (artifact,) = report.artifacts
    data = artifact.path.read_bytes() if artifact.path else kept[artifact.url]
    if to == "memory":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            data = tar.extractfile(f"{report.name}/x.txt").read()
    assert data == b"first"


@pytest.mark.parametrize("to", ["files", "destination"])
@pytest.mark.parametrize(
    ("name", "owner"), [("tar.gz", "archive"), ("manifest.json", "manifest"), ("core", "raw")]
)
def test_names_of_gencores_own_artifacts_are_reserved(tmp_path, name, owner, to):
    """For those that take part, wherever the thief stands, and whatever it reserves itself."""
    kept = {}
    options = {} if to == "files" else {"destination": lambda: Keeps(kept)}
    thief = collector(
        lambda self, dump: self.make(dump, name) and None, reserves=(name,), keeps_core=True
    )

    report = run(tmp_path, thief, "raw", "manifest", "archive", **options)

    (failed,) = report.failed
    assert failed.part == "mine"
    assert f"{name!r} is reserved for collector {owner!r}" in failed.reason
    assert {a.name for a in report.artifacts} == {"core", "tar.gz"}


def test_a_name_can_be_taken_again_once_nothing_is_left_of_it(tmp_path):
    """What was made of a core that has failed is removed; finish() makes it anew."""

    class Again(Mine, gencore.CoreSink):
        def begin(self, dump):
            self.make(dump)
            return self

        def write(self, _chunk):
            pass

    backend = SimulatedBackend(failure=gencore.CoreFailed("simulated"))

    report = run(tmp_path, Again, backend=backend)

    assert [artifact.name for artifact in report.artifacts] == ["mine.txt"]
    assert [failed.part for failed in report.failed] == ["core"]


def test_a_name_that_ends_like_a_core_is_packed_like_any(tmp_path):
    """Only the core itself is in the bundle already."""
    gpu = collector(lambda self, dump: [self.make(dump, "gpu.core")])

    report = run(tmp_path, gpu, "archive")

    assert members(report.path_of("archive")) == {"core", "gpu.core"}


def test_what_was_streamed_elsewhere_is_reported(tmp_path):
    """It has no file that could be packed."""
    sent = Artifact(name="events.json", size=10, sha256="a" * 64, streamed=True)
    streams = collector(lambda *_: [sent], makes_files=False)

    report = run(tmp_path, "manifest", streams, "archive")

    assert report.result == "complete"
    assert {a.name: a.collector for a in report.artifacts} == {
        "tar.gz": "archive",
        "events.json": "mine",
    }


def test_a_core_that_is_kept_lies_beside_the_bundle(tmp_path):
    """Both were asked for."""
    report = run(tmp_path, "raw", "manifest", "archive")

    assert report.result == "complete"
    with BundleReader(report.path_of("archive")) as bundle:
        assert bundle.open("core").read() == report.path_of("raw").read_bytes()


def test_two_collectors_that_pack_are_refused(tmp_path):
    """Before the pause: one of the files would lack what is in the other."""
    with pytest.raises(gencore.UsageError, match="both pack"):
        run(tmp_path, "archive", collector(Mine.finish, packs=True))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "packing", [None, Packing(compression="lzma", core="memory", files=())], ids=["silent", "says"]
)
def test_the_manifest_repeats_what_the_packer_says(tmp_path, packing):
    """And nothing of a packer that says nothing."""
    seen = []

    def finish(_, dump):
        with dump.output.open("manifest.json") as file:
            seen.append(file.readall())

    packer = collector(finish, packs=True, packing=lambda *_: packing)
    run(tmp_path, "manifest", packer)

    (manifest,) = map(__import__("json").loads, seen)
    assert manifest["core"]["file"] == (packing and "memory")
    assert manifest["core"]["codec"]["compression"] == (packing and "lzma")
    assert [row["name"] for row in manifest["files"]] == ["manifest.json"]


@pytest.mark.parametrize("path", ["core", "core/x", "a", "../x", "/x", "a//b", "x\0"])
def test_a_bundle_is_not_written_that_could_not_be_read(tmp_path, path):
    """A second file of one path, one where a folder is, or a path that leads elsewhere."""
    with (tmp_path / "bundle").open("wb") as file:
        writer = BundleWriter(file, "top", 0.0)
        for member in ("core", "a/b/c"):
            writer.begin(member, 0)
            writer.end()
        with pytest.raises((ValueError, gencore.IntegrityError)):
            writer.begin(path, 0)
        writer.abort()


@pytest.mark.parametrize("required", [True, False, "before"])
def test_a_check_that_fails_is_known_before_the_pause(tmp_path, required):
    """It refuses the dump if the collector is required before."""

    def check(_):
        raise KeyError("recipient")

    spec = CollectorSpec(collector(Mine.finish, check=check), required=required)
    pipeline = gencore.Pipeline(
        collectors=[spec, "raw"], directory=tmp_path, backend=SimulatedBackend()
    )

    if required:
        with pytest.raises(gencore.Refused, match=r"mine.*KeyError: 'recipient'"):
            pipeline.check()
    if required == "before":
        with pytest.raises(gencore.Refused, match=r"mine.*KeyError: 'recipient'"):
            pipeline.run()
        assert os.listdir(tmp_path) == []
    else:
        report = pipeline.run()
        assert report.result == ("partial" if required else "complete")
        assert [a.name for a in report.artifacts] == ["core"]


def test_an_error_is_reported_with_its_type_and_logged_with_its_place(tmp_path, caplog):
    """And what is kept of it is neither endless nor keeps a file open."""

    def finish(_, dump):
        kept = dump.create("kept.txt")
        raise KeyError("bucket" + "x" * 50_000 + kept.name)

    with caplog.at_level(logging.WARNING, "gencore"):
        report = run(tmp_path, collector(finish))

    (failed,) = report.failed
    assert failed.reason.startswith("KeyError: 'bucket")
    assert len(failed.reason) < 5_000
    assert failed.error.__traceback__ is None
    (record,) = [r for r in caplog.records if r.exc_text]
    assert "test_artifacts.py" in record.exc_text
    assert "traceback" not in str(report.as_dict())


def test_kept_reports_keep_no_descriptor(tmp_path):
    """A service may keep the last hundred."""
    code = """
import gc, os, sys
from tests_of_artifacts import Keeps, run
first = run(sys.argv[1], Keeps)
gc.collect()
before = len(os.listdir("/proc/self/fd"))
reports = [run(sys.argv[1], Keeps) for _ in range(5)]
gc.collect()
print(len(os.listdir("/proc/self/fd")) - before, len(reports[0].failed))
"""
    module = """
import gencore
from gencore.testing import SimulatedBackend
class Keeps(gencore.Collector):
    name, api_version = "keeps", (1, 1)
    def finish(self, dump):
        kept = dump.create("kept.txt"), open("/dev/null")
        raise ValueError
def run(directory, *collectors):
    return gencore.Pipeline(
        collectors=collectors, directory=directory, backend=SimulatedBackend()
    ).run()
"""
    (tmp_path / "tests_of_artifacts.py").write_text(module)
    command = [sys.executable, "-W", "ignore", "-c", code, tmp_path]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert out.split() == ["0", "1"]
