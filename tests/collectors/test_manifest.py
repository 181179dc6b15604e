"""The manifest of a live process, against its schema, the bundle and the kernel."""

import _thread
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import fastjsonschema
import pytest

import gencore
import gencore_collectors.manifest
from gencore._plugins.entry import GROUPS
from gencore.bundle import GZIP, BundleReader
from gencore.bundle.manifest import LARGEST_MANIFEST
from gencore.corefile import CoreFile
from gencore.target import Target
from gencore.testing import SimulatedBackend, simulated
from gencore_collectors.manifest import container, encoding, process

DUMP = """if True:
    import gencore, gencore.bundle, json, sys
    def dumped(**options):
        bundle = gencore.collect_core(directory=".", content="private", **options)
        with gencore.bundle.BundleReader(bundle) as reader:
            return reader.manifest()
"""
"""Begins a program that dumps itself; `dumped` returns the manifest."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Make one bundle of this process."""
    directory = tmp_path_factory.mktemp("bundle")
    return gencore.collect_core(
        directory=directory, content="stacks", annotations={"reason": "test"}
    )


@pytest.fixture(scope="module")
def manifest(bundle):
    """Read its manifest."""
    return manifest_in(bundle)


@pytest.fixture(scope="module")
def validate():
    """Compile the published schema."""
    schema = Path(gencore_collectors.manifest.__file__).with_name("schema.json")
    return fastjsonschema.compile(json.loads(schema.read_text()))


def top_of(bundle):
    return bundle.name.removesuffix(".tar.gz")


def manifest_in(bundle):
    with BundleReader(bundle) as reader:  # its table leads there; tar would unpack all the core
        return reader.manifest()


def run(directory, *collectors, **options):
    """Dump this process; return the report and the manifest, in the bundle or beside."""
    options = {"content": "stacks", **options}
    report = gencore.Pipeline(collectors=collectors, directory=directory, **options).run()
    beside = directory / f"{report.name}.manifest.json"
    if beside.exists():
        return report, json.loads(beside.read_text())
    return report, manifest_in(directory / f"{report.name}.tar.gz")


@contextlib.contextmanager
def core_of(bundle):
    """Unpack the core and open it."""
    member = f"{top_of(bundle)}/core"
    with tarfile.open(bundle) as tar:
        tar.extract(member, bundle.parent, filter="data")
    with CoreFile(bundle.parent / member) as core:
        yield core
    (bundle.parent / member).unlink()


class Broken(gencore.Collector):
    """Saves nothing."""

    name = "broken"
    api_version = (1, 0)

    def finish(self, _dump):
        raise OSError("nothing works")


class KillsTheClone(gencore.Collector):
    """Ends the clone when the first bytes of its core are there."""

    name = "kills-the-clone"
    api_version = (1, 0)
    new_children: Callable[[], set[int]]

    def begin(self, _dump):
        return _KillingSink()

    def finish(self, _dump):
        return []


class _KillingSink(gencore.CoreSink):
    def write(self, _chunk):
        for pid in KillsTheClone.new_children():
            os.kill(pid, signal.SIGKILL)


# The form


def test_manifest_follows_its_published_schema(manifest, validate):
    """The schema ships beside the collector."""
    validate(manifest)


def test_plug_ins_of_every_family_follow_the_schema(tmp_path, validate):
    """A destination is listed as backends and collectors are."""
    place = gencore.DestinationSpec("directory", options={"path": str(tmp_path)})
    _, manifest = run(tmp_path, "manifest", destination=place)
    assert manifest["tool"]["plugins"][-1]["group"] == "gencore.destinations"
    validate(manifest)


def test_schema_knows_each_group_of_plug_ins():
    """A family that is added is added there too."""
    schema = Path(gencore_collectors.manifest.__file__).with_name("schema.json").read_text()
    row = json.loads(schema)["properties"]["tool"]["properties"]["plugins"]["items"]
    assert set(row["properties"]["group"]["enum"]) == set(GROUPS.values())


def with_one_row_each(value):
    """Return JSON with the first object of each list: the others follow the same schema."""
    if isinstance(value, list):
        return [with_one_row_each(value[0])] if value and isinstance(value[0], dict) else value
    if isinstance(value, dict):
        return {key: with_one_row_each(below) for key, below in value.items()}
    return value


def keys_below(value, path=()):
    """Yield the path of every key."""
    if isinstance(value, list) and value:
        yield from keys_below(value[0], (*path, 0))
    if isinstance(value, dict):
        for key in value:
            yield (*path, key)
            yield from keys_below(value[key], (*path, key))


OPEN = re.compile(r"annotations\.|environment\.allowed\.|runtime\.flags\.|process\.limits\.\w+$")


def test_schema_misses_every_field_that_is_left_out(manifest, validate):
    """No field but those with free names can go without the schema telling."""
    manifest = with_one_row_each(manifest)
    validate(manifest)
    unnoticed = []
    for path in keys_below(manifest):
        copy = json.loads(json.dumps(manifest))
        place = copy
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]
        with contextlib.suppress(fastjsonschema.JsonSchemaException):
            validate(copy)
            unnoticed.append(".".join(map(str, path)))

    left = [path for path in unnoticed if not OPEN.match(path)]
    assert left == []
    assert {"process.limits.core", "process.limits.nofile"}.isdisjoint(unnoticed)


def test_manifest_is_printable_ascii_whatever_the_process_calls_things(tmp_path):
    """Line ends and terminal controls in names arrive escaped, and come back as they were."""
    text = "a\nb\x1b[2J\x7f\x9b\u202e"
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name=text)
    thread.start()
    report = gencore.Pipeline(
        collectors=["manifest"], directory=tmp_path, annotations={"note": text}
    ).run()
    release.set()
    thread.join()
    raw = (tmp_path / f"{report.name}.manifest.json").read_bytes()

    assert set(raw) <= {*range(0x20, 0x7F), ord("\n")}
    found = json.loads(raw)
    assert found["annotations"] == {"note": text}
    assert text in [row["python"]["name"] for row in found["threads"] if row["python"]]


def test_every_thread_that_threading_does_not_know_has_a_row(tmp_path):
    """Two of `_thread` have no native id; neither takes the other's place."""

    def first():
        release.wait()
        ended.release()

    def second():
        release.wait()
        ended.release()

    release, ended = threading.Event(), threading.Semaphore(0)
    known = set(sys._current_frames())
    idents = [_thread.start_new_thread(function, ()) for function in (first, second)]
    while not set(idents) <= set(sys._current_frames()) - known:
        time.sleep(0.001)
    report = gencore.Pipeline(collectors=["manifest"], directory=tmp_path).run()
    release.set()
    for _ in idents:
        ended.acquire()

    found = json.loads((tmp_path / f"{report.name}.manifest.json").read_bytes())
    rows = [r["python"]["ident"] for r in found["threads"] if r["python"] and r["tid"] is None]
    assert sorted(set(rows) - known) == sorted(idents)
    assert len(rows) == len(set(rows))


def test_manifest_that_would_be_too_large_is_shortened(manifest, validate):
    """It says what was shortened, stays valid and keeps some frames of every thread."""
    large = json.loads(json.dumps(manifest))
    for name in ("memory", "libraries", "files"):  # they must not be what is longest
        del large[name][10:]
    frame = {"file": "f" * 1000, "line": 1, "function": "g"}
    limit = len(encoding.encode(large)) + 100_000 * len(large["threads"])
    for row in large["threads"]:
        row["python"] = {**(row["python"] or manifest["threads"][0]["python"])}
        row["python"]["frames"] = [frame] * 500

    data = encoding.encode(large, limit)

    found = json.loads(data)
    validate(found)
    assert len(data) <= limit
    assert found["status"]["shortened"] == ["threads"]
    assert len(found["threads"]) == len(manifest["threads"])
    assert all(row["python"]["frames_truncated"] for row in found["threads"])
    assert all(row["python"]["frames"] for row in found["threads"])


def test_memory_map_too_long_for_the_manifest_is_shortened(manifest, validate):
    """It gives up rows like the other lists, and the manifest says so."""
    large = json.loads(json.dumps(manifest))
    large["memory"] = [{**manifest["memory"][0], "path": "/" + "m" * 1000}] * 5000

    found = json.loads(encoding.encode(large, 2 << 20))

    validate(found)
    assert found["status"]["shortened"] == ["memory"]
    assert 0 < len(found["memory"]) < 5000


@pytest.mark.parametrize(
    ("place", "row"),
    [
        (("process", "argv"), "a" * 1000),
        (("status", "warnings"), "w" * 1000),
        (("status", "skipped"), {"part": "p", "reason": "r" * 1000}),
    ],
)
def test_whatever_grows_without_bound_can_be_shortened(manifest, validate, place, row):
    """A command line, and what went wrong, are as long as somebody else makes them."""
    large = json.loads(json.dumps(manifest))
    section, name = place
    large[section][name] = [row] * 5000

    data = encoding.encode(large, 2 << 20)

    found = json.loads(data)
    validate(found)
    assert len(data) <= 2 << 20
    assert found["status"]["shortened"] == [".".join(place)]
    assert 0 < len(found[section][name]) < 5000


def test_a_manifest_is_never_larger_than_its_readers_accept():
    """Both limits are bytes of the JSON."""
    assert encoding.MAX_SIZE <= LARGEST_MANIFEST


def test_some_frames_of_each_thread_are_kept(manifest):
    """Half of the threads are given up before the others have less than eight."""
    large = json.loads(json.dumps(manifest))
    for name in ("memory", "libraries", "files"):
        del large[name][:]
    frame = {"file": "f" * 1000, "line": 1, "function": "g"}
    row = large["threads"][0]
    row["python"] = {**row["python"], "frames": [frame] * 64}
    large["threads"] = [json.loads(json.dumps(row)) for _ in range(64)]
    kept = {**row, "python": {**row["python"], "frames": [frame] * 8}}
    limit = len(encoding.encode({**large, "threads": [kept] * 32}))

    found = json.loads(encoding.encode(large, limit + 4096))

    assert [len(thread["python"]["frames"]) for thread in found["threads"]] == [8] * 32


def test_shortening_ends_even_if_nothing_fits(manifest):
    """With no room at all the lists are emptied, and the rest is written."""
    found = json.loads(encoding.encode(json.loads(json.dumps(manifest)), limit=0))

    lists = ("threads", "libraries", "memory", "files")
    assert [found[name] for name in lists] == [[]] * len(lists)
    assert found["process"]["pid"] == manifest["process"]["pid"]


def test_loading_the_collector_loads_nothing_heavy(python):
    """What is needed after the pause only is imported then."""
    code = """if True:
        import json, sys
        import gencore_collectors.manifest
        heavy = {"elftools", "ctypes", "mimetypes", "isal"}
        print(json.dumps(sorted(heavy & set(sys.modules))))
    """
    assert python(code) == []


# How the dump went


@pytest.mark.recorder
def test_a_program_that_dumps_itself_has_requested_it(tmp_path):
    """Its recorder, a process of its own, is nobody who asks."""
    report, manifest = run(tmp_path, "manifest")
    assert report.recorder == "process"
    assert manifest["trigger"]["kind"] == "api"
    assert manifest["trigger"]["requested_by"] is None


def test_whole_dump_is_complete(tmp_path):
    """Result, exit code, and the phases that had ended are the report's."""
    report, found = run(tmp_path, "manifest", "archive")
    status = found["status"]

    assert (status["result"], status["exit_code"]) == (report.result, report.exit_code)
    assert (status["result"], status["exit_code"]) == ("complete", 0)
    assert [(p["name"], p["duration_ms"]) for p in status["stages"]] == [
        (phase.name, round(phase.seconds * 1e3, 3))
        for phase in report.stages[:-1]  # the last one is publication
        if phase.name not in {"manifest", "archive"}
    ]
    assert {"observe", "libraries", "core"} <= {p["name"] for p in status["stages"]}
    started = [datetime.fromisoformat(p["started_at"]) for p in status["stages"]]
    assert started == sorted(started)
    assert started[0] >= datetime.fromisoformat(found["created_at"])


def test_missing_part_makes_it_partial(tmp_path):
    """A collector that failed before is in `failed` and among the phases, with its error."""
    report, found = run(tmp_path, Broken, "manifest", "archive")
    status = found["status"]

    assert (status["result"], status["exit_code"]) == (report.result, report.exit_code)
    assert (status["result"], status["exit_code"]) == ("partial", 3)
    (phase,) = [phase for phase in status["stages"] if phase["name"] == "broken"]
    assert (phase["status"], phase["error"]) == ("failed", "OSError: nothing works")
    assert status["failed"] == [{"part": "broken", "reason": "OSError: nothing works"}]


def test_failed_core_is_told(tmp_path, monkeypatch, validate):
    """There is no memory in the dump then, nothing is packed, and the exit code is the error's."""

    def fail(_):
        raise gencore.CoreFailed("find-core")

    monkeypatch.setattr("gencore_backends.linux.elf_snapshot.PipeSnapshot.core", fail)
    report, found = run(tmp_path, "manifest", "archive", backend="linux-elf")

    validate(found)
    assert found["core"] is None
    assert found["status"]["result"] == report.result == "failed"
    assert found["status"]["exit_code"] == report.exit_code == gencore.CoreFailed.exit_code
    assert found["privacy"]["contains_memory"] is False
    assert found["privacy"]["classification"] == "internal"
    assert "passwords" not in found["privacy"]["notice"]
    assert {row["archive_path"] for row in found["libraries"]} == {None}
    assert all(row["ranges"] for row in found["libraries"])
    assert [row["name"] for row in found["files"]] == os.listdir(tmp_path)


def test_truncated_core_is_told_with_both_sizes(tmp_path, validate, new_children, monkeypatch):
    """The clone ended early: what is there, what should be, and no hash of the padded member."""
    monkeypatch.setattr(KillsTheClone, "new_children", new_children, raising=False)
    held = os.urandom(48 << 20)  # more than is read before the first bytes are taken
    chosen = (KillsTheClone, "manifest", "archive")
    report, found = run(tmp_path, *chosen, backend="linux-elf", content="private")
    del held
    core = found["core"]
    bundle = tmp_path / f"{report.name}.tar.gz"
    with tarfile.open(bundle) as tar:
        packed = tar.extractfile(f"{report.name}/core").read()
    (row,) = [row for row in found["files"] if row["name"] == "core"]

    validate(found)
    assert found["status"]["result"] == report.result == "partial"
    assert core["truncated"]
    assert core["incomplete"]
    assert 0 < core["size"] < core["expected_size"] == len(packed)
    assert tree_hash(packed) == core["tree_sha256"] == row["tree_sha256"]
    assert core["load_segments"] > 10
    assert (row["size"], row["sha256"]) == (len(packed), None)


# The core and the files


def test_manifest_counts_what_is_in_the_core(bundle, manifest):
    """Segments, registers and sizes are those of the core's own headers."""
    said = manifest["core"]
    with core_of(bundle) as core:
        assert said["load_segments"] == len(core.program_headers)
        assert said["threads"] == len(core.thread_ids)
        assert said["size"] == said["expected_size"] == core.promised_size
    assert not said["truncated"]
    assert said["pid_in_core"] == os.getpid()


@pytest.mark.parametrize(("content", "left_out"), [("full", 0), ("private", 1)])
def test_filter_names_what_the_content_leaves_out(tmp_path, content, left_out):
    """Beside the word that was asked with, the memory that is not there."""
    _, found = run(tmp_path, "manifest", content=content)

    assert found["core"]["content"] == content
    assert len(found["core"]["filter"]) == left_out


def test_codec_is_that_of_the_bundle(manifest):
    """The level is the one that the bundle's writer compresses with."""
    codec = manifest["core"]["codec"]

    assert (codec["compression"], codec["level"]) == ("gzip", GZIP.level)


def tree_hash(data):
    """Return the hash over blocks of 1 MiB as RFC 9162 defines it, by its recursion."""
    return tree_of([data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]).hex()


def tree_of(blocks):
    """Return MTH of RFC 9162, 2.1.1."""
    if len(blocks) == 1:
        return hashlib.sha256(b"\0" + blocks[0]).digest()
    half = 1 << (len(blocks) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_of(blocks[:half]) + tree_of(blocks[half:])).digest()


def test_every_member_of_the_bundle_is_listed_with_its_hash(bundle, manifest):
    """Only the manifest cannot hash itself; the libraries say the same as the files."""
    top = top_of(bundle)
    rows = {row["name"]: row for row in manifest["files"]}
    with tarfile.open(bundle) as tar:
        assert sorted(tar.getnames()) == sorted(f"{top}/{name}" for name in rows)
        for name, row in rows.items():
            data = tar.extractfile(f"{top}/{name}").read()
            if name == "core":
                assert row["tree_sha256"] == manifest["core"]["tree_sha256"] == tree_hash(data)
            elif name != "manifest.json":
                assert row["sha256"] == hashlib.sha256(data).hexdigest(), name
            assert row["size"] in {None, len(data)}, name

    assert manifest["integrity"]["members"] == len(rows) - 1
    assert rows["core"]["privacy"] == "secret"
    for library in filter(lambda row: row["archive_path"], manifest["libraries"]):
        assert rows[library["archive_path"]]["sha256"] == library["sha256"]


def test_a_core_that_raw_writes_is_hashed_once(tmp_path, monkeypatch):
    """The manifest has the hash that `raw` makes; the framework makes none, and reads none."""
    monkeypatch.setattr("gencore._pipeline.core_reading.hashlib", None)

    report, found = run(tmp_path, "manifest", "raw", backend=SimulatedBackend(b"x" * (3 << 20)))

    (core,) = tmp_path.glob("*.core")
    assert report.result == "complete"
    assert found["core"]["sha256"] == hashlib.sha256(core.read_bytes()).hexdigest()


def test_the_hash_of_a_foreign_sink_is_not_believed(tmp_path):
    """Whatever it says: the framework hashes what it has given."""

    class Liar(gencore.Collector):
        name, api_version, keeps_core = "liar", (1, 1), True

        def begin(self, dump):
            return Sink(dump.create("core"))

        def finish(self, _dump):
            """Add nothing."""

    class Sink(gencore.CoreSink):
        hashes, sha256 = True, "0" * 64

        def __init__(self, file):
            self._file = file

        def write(self, chunk):
            self._file.write(chunk)

    _, found = run(tmp_path, "manifest", Liar, backend=SimulatedBackend(b"x" * 4096))

    (core,) = tmp_path.glob("*.core")
    assert found["core"]["sha256"] == hashlib.sha256(core.read_bytes()).hexdigest()


def test_files_beside_the_manifest_are_listed_without_a_bundle(tmp_path):
    """The names are those in the directory, and nothing claims to be compressed or packed."""
    _, found = run(tmp_path, "raw", "manifest")
    rows = {row["name"]: row for row in found["files"]}
    core = rows[found["core"]["file"]]

    assert sorted(rows) == sorted(os.listdir(tmp_path))
    assert core["size"] == (tmp_path / core["name"]).stat().st_size
    assert core["sha256"] == found["core"]["sha256"]
    assert (core["collector"], core["privacy"]) == ("raw", "secret")
    assert found["core"]["codec"]["compression"] is None
    assert {row["archive_path"] for row in found["libraries"]} == {None}


# The libraries


def test_ranges_are_where_the_core_has_the_files(bundle, manifest):
    """The core's NT_FILE has the same rows: start, end and offset."""
    expected = {}
    with core_of(bundle) as core:
        for row in core.mapped_ranges:
            numbers = [hex(row.start), hex(row.end), hex(row.file_offset)]
            expected.setdefault(row.path, []).append(numbers)

    for library in manifest["libraries"]:
        if library["deleted"]:  # the note keeps the kernel's mark
            continue
        assert library["ranges"] == expected[library["path"]], library["path"]


def test_libraries_have_their_sonames(manifest):
    """The C library and the dynamic linker bring one, the interpreter none."""
    sonames = [row["soname"] for row in manifest["libraries"]]

    assert "libc.so.6" in sonames
    assert sonames[0] is None


def test_library_is_known_by_the_link_that_it_was_loaded_through(python, tmp_path):
    """Its path is the file's, the name in the linker's list is an alias."""
    real, link = tmp_path / "real.so", tmp_path / "link.so"
    shutil.copy(importlib.util.find_spec("_heapq").origin, real)
    link.symlink_to(real)
    code = DUMP + "import ctypes; ctypes.CDLL(sys.argv[1]); print(json.dumps(dumped()))"

    rows = {row["path"]: row for row in python(code, link)["libraries"]}

    assert rows[str(real)]["aliases"] == [str(link)]
    assert str(link) not in rows
    assert not rows[str(real)]["deleted"]


DELETE = """if True:
    import ctypes, gencore, json, os, sys
    ctypes.CDLL(sys.argv[1])
    os.unlink(sys.argv[1])
    report = gencore.start(directory=sys.argv[2]).result()
    print(json.dumps(report.as_dict()))
"""


def dump_with_deleted_library(directory, *prefix):
    """Return the bytes that were deleted, the report, the manifest's row, and the bundle."""
    gone = directory / "gone.so"
    shutil.copy(importlib.util.find_spec("_heapq").origin, gone)
    data = gone.read_bytes()
    command = [*prefix, sys.executable, "-c", DELETE, gone, directory]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    bundle = directory / f"{report['name']}.tar.gz"
    with tarfile.open(bundle) as tar:
        manifest = json.load(tar.extractfile(f"{report['name']}/manifest.json"))
    (row,) = [row for row in manifest["libraries"] if row["path"] == str(gone)]
    return data, report, row, bundle


def test_deleted_library_is_packed_from_the_mapping(tmp_path):
    """Under the path that it had; needs a capability that root has."""
    if os.getuid() != 0:
        pytest.skip("only root has CAP_SYS_ADMIN")
    data, report, row, bundle = dump_with_deleted_library(tmp_path)

    assert report["result"] == "complete"
    assert (row["status"], row["deleted"], row["source"]) == ("ok", True, "mapping")
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    with tarfile.open(bundle) as tar:
        assert tar.extractfile(f"{report['name']}/{row['archive_path']}").read() == data


def test_deleted_library_that_cannot_be_read_claims_nothing(tmp_path, tool):
    """No hash, no place in the bundle, but where it is mapped, and which capability is missing."""
    without_capabilities = (tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all")
    _, report, row, _ = dump_with_deleted_library(tmp_path, *without_capabilities)

    assert report["result"] == "partial"
    assert (row["status"], row["deleted"]) == ("deleted", True)
    assert [row[key] for key in ("source", "sha256", "archive_path")] == [None] * 3
    assert row["ranges"]
    assert "CAP_CHECKPOINT_RESTORE" in row["reason"]


def test_replaced_library_and_its_successor_are_both_there(python, tmp_path):
    """The one that was deleted keeps the kernel's mark in its path; each has its own ranges."""
    path = tmp_path / "twice.so"
    code = """import ctypes, mmap, os, shutil
    ctypes.CDLL(sys.argv[1])
    os.unlink(sys.argv[1])
    shutil.copy(sys.argv[2], sys.argv[1])
    successor = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 0, prot=mmap.PROT_READ)
    print(json.dumps(dumped()))"""
    shutil.copy(importlib.util.find_spec("_heapq").origin, path)

    found = python(DUMP + "    " + code, path, importlib.util.find_spec("_bisect").origin)

    rows = {row["path"]: row for row in found["libraries"] if str(path) in row["path"]}
    assert set(rows) == {str(path), f"{path} (deleted)"}
    assert rows[f"{path} (deleted)"]["deleted"]
    assert not rows[str(path)]["deleted"]
    assert len(rows[str(path)]["ranges"]) == 1
    assert len(rows[f"{path} (deleted)"]["ranges"]) > 1


def test_library_under_two_names_is_packed_under_both(bundle, manifest):
    """A debugger looks for the linker's name, others for the mapped file's."""
    with tarfile.open(bundle) as tar:
        names = tar.getnames()

    top = bundle.name.removesuffix(".tar.gz")
    libraries = [row for row in manifest["libraries"] if row["reason"] is None]
    paths = [p for row in libraries for p in (row["path"], *(row["aliases"] or ()))]
    packed = {f"{top}{os.path.normpath(path)}" for path in paths}
    assert len(packed) > len(libraries) > 10
    assert packed <= set(names)
    assert len(names) == len(set(names))
    assert {row["name"] for row in manifest["files"]} == {n.partition("/")[2] for n in names}


# The memory map


def mapping_at(found, address):
    """Return the row in which *address* is."""
    (row,) = [
        row for row in found["memory"] if int(row["start"], 16) <= address < int(row["end"], 16)
    ]
    return row


def test_memory_map_covers_what_the_core_holds(bundle, manifest):
    """Every segment of the core with bytes in it lies in mappings, and sizes are true."""
    rows = [(int(row["start"], 16), int(row["end"], 16)) for row in manifest["memory"]]
    with core_of(bundle) as core:
        mapped = {row.start for row in core.mapped_ranges}

    assert rows == sorted(rows)
    assert [row["size"] for row in manifest["memory"]] == [end - start for start, end in rows]
    assert mapped <= {start for start, _ in rows}
    assert len(rows) > len(mapped)  # and what is of no file


MEMORY_OF_EVERY_KIND = """if True:
    import ctypes, mmap, os
    def address(memory):
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))
    anonymous = mmap.mmap(-1, 123 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    memfd = os.memfd_create("shared")
    os.truncate(memfd, mmap.PAGESIZE)
    shared = mmap.mmap(memfd, mmap.PAGESIZE)
    with open(sys.argv[1], "w+b") as file:
        file.truncate(3 * mmap.PAGESIZE)
        mapped = mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE, offset=mmap.PAGESIZE)
    os.unlink(sys.argv[1])
    reserved = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    libc = ctypes.CDLL(None)
    libc.mprotect(ctypes.c_void_p(address(reserved)), mmap.PAGESIZE, 0)
    code = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    places = [address(memory) for memory in (anonymous, shared, mapped, reserved)]
    print(json.dumps([dumped(), *places, code]))
"""


def test_each_mapping_has_its_kind(python, tmp_path):
    """By what a program mapped itself, and by the kernel's names."""
    file = tmp_path / "mapped"
    found, *places = python(DUMP + MEMORY_OF_EVERY_KIND, file)
    anonymous, shared, mapped, reserved, code = (mapping_at(found, at) for at in places)
    named = {row["path"]: row["kind"] for row in found["memory"] if row["path"]}

    kinds = [row["kind"] for row in (anonymous, shared, mapped, reserved, code)]
    assert kinds == ["anonymous", "shared", "file", "reserved", "code"]
    assert anonymous["path"] is None
    assert (mapped["path"], mapped["offset"], mapped["deleted"]) == (str(file), "0x1000", True)
    assert (mapped["permissions"], mapped["size"]) == ("rw-s", 0x2000)
    assert (code["permissions"], code["deleted"]) == ("r-xp", False)
    assert [named[name] for name in ("[heap]", "[stack]", "[vdso]")] == ["heap", "stack", "vdso"]


# The process and where it runs


def test_process_is_described_as_the_kernel_sees_it(python):
    """Start, parent, name, users and protection, of a process made for it."""
    code = """
    import ctypes, pathlib
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    pathlib.Path("/proc/self/coredump_filter").write_text("0x23")
    pathlib.Path("/proc/self/comm").write_text("somebody")
    kept = [open("/dev/null") for _ in range(100)]
    print(json.dumps(dumped()["process"]))
    """
    before = time.time()
    process = python(DUMP + code)
    created = datetime.fromisoformat(process["creation"]["time"]).timestamp()

    assert before - 0.1 < created < before + 5
    assert process["parent_pid"] == os.getpid()
    assert process["vpid"][0] == process["pid"]
    assert process["title"] == "somebody"
    assert process["state"][0] in "RSD"
    assert process["user"] == process["real_user"] == {"id": os.getuid()}
    assert process["group"] == process["real_group"] == {"id": os.getgid()}
    assert 100 < process["open_fds"] < 150
    assert process["security"]["dumpable"] == 1
    assert process["security"]["no_new_privs"] is True
    assert int(process["security"]["coredump_filter"], 16) == 0x23
    assert process["rss_bytes"] < process["vms_bytes"]


def test_process_that_may_not_be_dumped_is_recognised(python):
    """What PR_SET_DUMPABLE took away is seen, by root too."""
    code = """if True:
        import ctypes, json
        from gencore.target import Target
        from gencore_collectors.manifest import security
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        print(json.dumps(security.section(Target(), {})["dumpable"]))
    """
    assert python(code) == 0


def test_executable_is_the_interpreters_file(manifest):
    """Path, name, hash and build ID are those of the first mapped file."""
    executable = manifest["process"]["executable"]
    path = Path(os.path.realpath(sys.executable))

    assert executable["path"] == str(path) == manifest["libraries"][0]["path"]
    assert executable["name"] == path.name
    assert executable["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert executable["build_id"]["gnu"] == manifest["libraries"][0]["build_id"]


def test_manifest_holds_the_python_stacks_without_values(manifest):
    """The calling thread's stack leads through this test's fixture; no locals anywhere."""
    (row,) = [r for r in manifest["threads"] if r["tid"] == threading.get_native_id()]
    functions = [frame["function"] for frame in row["python"]["frames"]]

    assert "bundle" in functions
    assert row["registers"] == "exact"


def test_argument_values_are_hidden(python):
    """Option names stay, values go, and their number is told."""
    code = DUMP + "print(json.dumps(dumped()))"

    found = python(code, "--password=hunter2", "swordfish")

    assert "hunter2" not in json.dumps(found)
    assert "swordfish" not in json.dumps(found)
    assert "--password" in found["process"]["argv"]
    assert found["process"]["argv_redactions"] == 3  # these two, and the code behind -c


PYTHON = "/usr/bin/python3.11"
HIDDEN = "[redacted]"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ([PYTHON, "-pSECRET"], [PYTHON, "-p"]),
        ([PYTHON, "app.py", "-uroot:SECRET"], [PYTHON, "app.py", "-u"]),
        ([PYTHON, "app.py", "-m", "SECRET"], [PYTHON, "app.py", "-m", HIDDEN]),
        ([PYTHON, "app.py", "a.py"], [PYTHON, "app.py", HIDDEN]),
        ([PYTHON, "-c", "SECRET", "-m", "SECRET"], [PYTHON, "-c", HIDDEN, "-m", HIDDEN]),
        ([PYTHON, "-Ic", "SECRET"], [PYTHON, "-I", HIDDEN]),
        ([PYTHON, "-cSECRET", "x.py"], [PYTHON, "-c", HIDDEN]),
        ([PYTHON, "-m", "http.server", "80"], [PYTHON, "-m", "http.server", HIDDEN]),
        ([PYTHON, "-um", "http.server"], [PYTHON, "-u", "http.server"]),
        ([PYTHON, "-mhttp.server", "SECRET"], [PYTHON, "-m", HIDDEN]),
        ([PYTHON, "-X", "dev", "/bin/app", "SECRET"], [PYTHON, "-X", HIDDEN, "/bin/app", HIDDEN]),
        ([PYTHON, "app.py", "--url=SECRET"], [PYTHON, "app.py", "--url"]),
        ([PYTHON, "-mitem", "SECRET"], [PYTHON, "-m", HIDDEN]),
        ([PYTHON, "-Wm", "a.py", "SECRET"], [PYTHON, "-W", "a.py", HIDDEN]),
        ([PYTHON, "-", "SECRET"], [PYTHON, HIDDEN, HIDDEN]),
        ([PYTHON, "--", "a.py", "SECRET"], [PYTHON, HIDDEN, "a.py", HIDDEN]),
        ([PYTHON, "app.py", "amqp://u:SECRET@h/"], [PYTHON, "app.py", HIDDEN]),
        ([PYTHON, "-I", "https://u:SECRET@h/a.py"], [PYTHON, "-I", HIDDEN]),
        (["uwsgi", "-m", "SECRET"], ["uwsgi", "-m", HIDDEN]),
        (["uwsgi", "-xm", "SECRET"], ["uwsgi", "-x", HIDDEN]),
        (["uwsgi", "https://u:SECRET@h/a.py"], ["uwsgi", HIDDEN]),
        (["uwsgi", "SECRET"], ["uwsgi", HIDDEN]),
        (["uwsgi", "app.py"], ["uwsgi", "app.py"]),
        ([PYTHON, "-m"], [PYTHON, "-m"]),
        ([PYTHON], [PYTHON]),
        ([], []),
    ],
)
def test_of_arguments_only_program_options_and_script_are_shown(argv, shown):
    """An option of one letter may have its value in the same word."""
    assert process._names_only(argv, only_program=False) == shown


def test_environment_holds_harmless_variables_only(python):
    """Neither value nor name of any other is in the manifest, but how many there are."""
    harmless = {"LANG": "C.UTF-8", "TZ": "UTC", "PYTHONUTF8": "1"}
    env = {**harmless, "DB_PASSWORD_NAME": "hunter2", "PYTHONPATH": "/swordfish"}
    code = DUMP + "import os; print(json.dumps([dumped(), len(os.environ)]))"

    found, variables = python(code, env=env)

    assert found["environment"]["allowed"].items() >= harmless.items()
    assert not {"hunter2", "DB_PASSWORD_NAME", "PYTHONPATH"} & set(
        re.findall(r"\w+", json.dumps(found))
    )
    allowed = found["environment"]["allowed"]
    assert found["environment"]["redacted"] + len(allowed) == variables


def test_operators_names_come_from_the_environment(python):
    """Kubernetes' downward API and OpenTelemetry's variables; the service's own one wins."""
    attributes = "service.name=other,service.version=1%2C2, deployment.environment.name = prod ,x"
    env = {
        "POD_NAME": "orders-7",
        "POD_NAMESPACE": "shop",
        "POD_UID": "b2b9",
        "NODE_NAME": "n1",
        "CONTAINER_NAME": "main",
        "OTEL_SERVICE_NAME": "orders",
        "OTEL_RESOURCE_ATTRIBUTES": attributes,
    }
    found = python(DUMP + "print(json.dumps(dumped()))", env=env)

    assert found["k8s"] == {
        "namespace": {"name": "shop"},
        "pod": {"name": "orders-7", "uid": "b2b9"},
        "node": {"name": "n1"},
        "container": {"name": "main"},
    }
    assert found["service"]["name"] == "orders"
    assert found["service"]["version"] == "1,2"
    assert found["service"]["namespace"] is None
    assert found["deployment"] == {"environment": {"name": "prod"}}
    assert found["resource"]["attributes"] == {
        "service.name": "other",
        "service.version": "1,2",
        "deployment.environment.name": "prod",
        "x": None,
    }


def test_sections_of_operators_are_null_where_nothing_is_known(python):
    """A process without an environment is no service of anybody."""
    code = DUMP + "import os; os.environ.clear(); print(json.dumps(dumped()))"

    found = python(code)

    assert [found[name] for name in ("k8s", "service", "deployment", "resource")] == [None] * 4
    assert found["environment"] == {"allowed": {}, "redacted": 0}


ID = "4f" * 32
CONTAINERS = {
    "none": ({"proc/self/cgroup": "0::/user.slice/session-1.scope\n"}, None),
    "docker, own namespace": (
        {
            "proc/self/cgroup": "0::/\n",
            ".dockerenv": "",
            "proc/self/mountinfo": f"1 2 0:1 /var/lib/docker/containers/{ID}/hostname /etc/h rw\n",
            "sys/fs/cgroup/memory.max": "1048576\n",
            "sys/fs/cgroup/memory.current": "4096\n",
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/pids.max": "max\n",
        },
        ("docker", ID, "/", 1048576, 4096, "50000 100000", None),
    ),
    "kubernetes, containerd": (
        {
            "proc/self/cgroup": f"0::/kubepods.slice/pod1.slice/cri-containerd-{ID}.scope\n",
            f"sys/fs/cgroup/kubepods.slice/pod1.slice/cri-containerd-{ID}.scope/memory.max": "9\n",
            f"sys/fs/cgroup/kubepods.slice/pod1.slice/cri-containerd-{ID}.scope/pids.max": "7\n",
        },
        (None, ID, f"/kubepods.slice/pod1.slice/cri-containerd-{ID}.scope", 9, None, None, 7),
    ),
    "docker in docker": (
        {"proc/self/cgroup": f"0::/docker/{'0' * 64}/docker/{ID}\n", ".dockerenv": ""},
        ("docker", ID, f"/docker/{'0' * 64}/docker/{ID}", None, None, None, None),
    ),
    "podman": (
        {"proc/self/cgroup": f"0::/libpod-{ID}/c\n", "run/.containerenv": ""},
        ("podman", ID, f"/libpod-{ID}/c", None, None, None, None),
    ),
    "what systemd says": (
        {"run/systemd/container": "lxc\n"},
        ("lxc", None, None, None, None, None, None),
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_told_by_its_marks(tmp_path, monkeypatch, name):
    """Runtime, id, cgroup and limits, with and without a namespace for cgroups."""
    files, expected = CONTAINERS[name]
    for variable in ("KUBERNETES_SERVICE_HOST", "container"):
        monkeypatch.delenv(variable, raising=False)
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    found = container.section(Target(), os.environ, tmp_path)

    if found is not None:
        found = (
            *(found[key] for key in ("runtime", "id", "cgroup")),
            *(found["memory"][key] for key in ("max_bytes", "current_bytes")),
            found["cpu"]["max"],
            found["pids"]["max"],
        )
    assert found == expected


def test_machine_id_is_shown_as_a_salted_hash_only(manifest):
    """The hash can be made again by whoever knows the machine."""
    try:
        machine_id = Path("/etc/machine-id").read_text().strip()
    except OSError:
        pytest.skip("this machine has no id")
    expected = hashlib.sha256(f"gencore.host.id:{machine_id}".encode()).hexdigest()

    assert manifest["host"]["id_hash"] == expected
    assert machine_id not in json.dumps(manifest)


def test_host_is_described(manifest):
    """Memory and the boot's id are the kernel's."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kibibytes = int(re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[1])

    assert manifest["host"]["boot_id"] == boot_id
    assert manifest["host"]["memory_total_bytes"] == kibibytes * 1024


def test_backend_is_one_of_the_plugins(manifest):
    """Who brings it and how it works is told beside its name."""
    backend = manifest["tool"]["backend"]
    rows = [row for row in manifest["tool"]["plugins"] if row["group"] == "gencore.backends"]
    (row,) = [row for row in rows if row["name"] == backend["name"]]

    assert backend["method"] in {"fork-elf", "kernel-core"}
    assert (backend["dist"], backend["version"]) == ("gencore", gencore.__version__)
    assert (row["dist"], row["status"], row["error"]) == ("gencore", "ok", None)


def test_flags_of_the_interpreter_are_told(python):
    """By name, with those of this version."""
    code = DUMP + "print(json.dumps([dumped()['runtime']['flags'], sys.flags.utf8_mode]))"

    flags, _ = python(code, env={"PYTHONUTF8": "1", "PYTHONOPTIMIZE": "2"})

    assert (flags["utf8_mode"], flags["optimize"]) == (1, 2)
    assert {"isolated", "dev_mode", "safe_path"} <= set(flags)
    assert not {"count", "index", "n_fields"} & set(flags)


def test_a_core_of_another_format_is_called_so(tmp_path, monkeypatch):
    """A backend for Windows would stream a minidump; what nobody knows has no name."""
    found = []
    for beginning in (b"\x7fELF", b"MDMP", b"\xcf\xfa\xed\xfe", b"what"):
        monkeypatch.setattr(simulated, "simulated_core", lambda *_, b=beginning: b + bytes(100))
        backend = SimulatedBackend()
        pipeline = gencore.Pipeline(
            backend=backend, collectors=["manifest", "raw"], directory=tmp_path
        )
        manifest = json.loads(pipeline.run().path_of("manifest").read_text())
        found.append(manifest["core"]["format"])

    assert found == ["elf", "minidump", "mach-o", None]
