"""The bundle of a live process: layout, contents, and its manifest."""

import _thread
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import uuid
from datetime import datetime
from pathlib import Path

import pytest

import gencore
from gencore.bundle.reader import BundleReader
from gencore.bundle.verification import verify


@pytest.fixture(scope="module", params=["archive", "archive-zstd"])
def bundle(request, tmp_path_factory):
    """Make one bundle of this process with each collector that packs."""
    return gencore.collect_core(
        collectors=["manifest", request.param],
        directory=tmp_path_factory.mktemp("bundle"),
        content="stacks",
        annotations={"reason": "test"},
    )


@pytest.fixture(scope="module")
def manifest(bundle):
    """Read its manifest."""
    with BundleReader(bundle) as reader:  # its table leads there; tar would unpack all the core
        return reader.manifest()


def top_of(bundle):
    return bundle.name.partition(".tar.")[0]


def test_everything_is_below_one_folder_of_the_bundles_name(bundle, open_tar):
    """The name is core_<date>.<time>.<pid>.<seq>."""
    with open_tar(bundle) as tar:
        tops = {name.partition("/")[0] for name in tar.getnames()}

    assert tops == {top_of(bundle)}
    assert f".{os.getpid()}." in bundle.name


def test_executable_and_libraries_keep_their_paths(bundle, open_tar):
    """Each is the very file that is mapped."""
    executable = os.path.realpath(sys.executable)
    with open_tar(bundle) as tar:
        packed = tar.extractfile(top_of(bundle) + executable).read()
        names = tar.getnames()

    assert packed == Path(executable).read_bytes()
    assert any("/libc.so.6" in name for name in names)


def test_its_own_program_finds_it_in_order(bundle, tool):
    """With the table of contents behind the data."""
    program = {".gz": "gzip", ".zst": "zstd"}[bundle.suffix]
    done = subprocess.run([tool(program), "-tv", bundle], capture_output=True, check=True)

    assert done.stderr.strip()


@pytest.mark.parametrize(
    "command",
    [
        ("tar", "xf"),
        ("bsdtar", "xf"),
        (sys.executable, "-m", "tarfile", "-e"),
    ],
    ids=["tar", "bsdtar", "tarfile"],
)
def test_ordinary_tools_unpack_it(bundle, tool, tmp_path, command):
    """They know nothing of frames or of the table, and warn of nothing."""
    name, *options = command
    if name == sys.executable and bundle.suffix == ".zst" and sys.version_info < (3, 14):
        return  # tarfile does not know zstd yet
    program = [name if name == sys.executable else tool(name), *options]
    done = subprocess.run([*program, bundle], cwd=tmp_path, capture_output=True, check=True)

    assert done.stderr == b""
    with BundleReader(bundle) as reader:
        assert sum(len(files) for _, _, files in os.walk(tmp_path)) == len(reader.members)


@pytest.mark.parametrize("bundle", ["archive"], indirect=True)  # many 7-Zips have no zstd
def test_7z_finds_it_in_order(bundle, tool, tmp_path):
    """The gzip layer, and the tar in it."""
    subprocess.run([tool("7zz"), "x", f"-o{tmp_path}", bundle], capture_output=True, check=True)
    (tar,) = tmp_path.glob("*.tar")
    done = subprocess.run([tool("7zz"), "t", tar], capture_output=True, text=True, check=True)

    assert "Everything is Ok" in done.stdout
    assert "WARN" not in done.stdout.upper()


def test_archive_packs_last_whatever_the_order(tmp_path):
    """Named first, it still takes the manifest into the bundle, and nothing stands beside it."""
    collectors = ["archive", "manifest"]
    pipeline = gencore.Pipeline(collectors=collectors, directory=tmp_path, content="stacks")
    report = pipeline.run()

    with tarfile.open(report.path_of("archive")) as tar:
        assert f"{report.name}/manifest.json" in tar.getnames()
    assert os.listdir(tmp_path) == [f"{report.name}.tar.gz"]


def test_what_went_into_a_bundle_belongs_to_its_owner_alone(bundle, open_tar):
    """Also once it is unpacked: core and manifest 0600, programs 0700."""
    with open_tar(bundle) as tar:
        modes = {member.name.partition("/")[2]: member.mode for member in tar}

    assert modes.pop("core") == modes.pop("manifest.json") == 0o600
    assert set(modes.values()) == {0o700}


def test_manifest_identifies_dump_and_process(bundle, manifest):
    """A UUID of version 7 made at the instant, the process id, and that memory is in there."""
    bundle_id = uuid.UUID(manifest["bundle_id"])
    created_at = datetime.fromisoformat(manifest["created_at"])

    assert (bundle_id.version, bundle_id.variant) == (7, uuid.RFC_4122)
    assert bundle_id.int >> 80 == int(created_at.timestamp() * 1000)
    assert manifest["name"] == top_of(bundle)
    assert manifest["core"]["pid_in_core"] == manifest["process"]["pid"] == os.getpid()
    assert manifest["privacy"]["contains_memory"]


def test_manifest_tells_the_build_ids(manifest):
    """With them a debugger fetches symbols."""
    rows = manifest["libraries"]  # of copies too that another test has read and not yet let go
    libcs = [row for row in rows if "/libc.so.6" in row["path"] and row["status"] == "ok"]

    assert libcs
    assert {len(row["build_id"]) for row in libcs} == {40}


def test_manifest_names_plug_ins_that_were_not_loaded(python, tmp_path):
    """A broken backend that policy lets be chosen is a warning and not an error."""
    (tmp_path / "sample_broken.py").write_text("import no_such_module")
    info = tmp_path / "sample_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gencore.backends]\nbroken = sample_broken:B\n")
    code = """if True:
        import gencore, json
        report = gencore.Pipeline(collectors=["manifest"], directory=".").run()
        manifest = json.loads(report.path_of("manifest").read_text())
        print(json.dumps([report.result, report.warnings, manifest["status"]["warnings"]]))
    """

    env = {"PYTHONPATH": str(tmp_path), "GENCORE_PLUGINS": "broken"}
    result, warnings, written = python(code, env=env)

    assert result == "complete"
    assert warnings == written
    assert "backend 'broken' was not loaded" in warnings[0]
    assert "no_such_module" in warnings[0]


def test_endless_recursion_is_cut(tmp_path):
    """At most 500 frames of a thread are noted, and the manifest says that there were more."""

    def deeper(depth):
        if depth:
            return deeper(depth - 1)
        return gencore.Pipeline(collectors=["manifest"], directory=tmp_path).run()

    manifest = json.loads(deeper(600).path_of("manifest").read_text())
    (row,) = [r for r in manifest["threads"] if r["tid"] == threading.get_native_id()]

    assert len(row["python"]["frames"]) == 500
    assert row["python"]["frames_truncated"]
    assert "deeper" in row["python"]["frames"][-1]["function"]


def test_a_thread_that_threading_does_not_know_is_in_the_manifest(tmp_path):
    """Its stack is there, though nobody can say which of the kernel's threads it is."""
    held, waiting = threading.Lock(), threading.Event()

    def started_below_threading():
        waiting.set()
        with held:
            pass

    with held:
        ident = _thread.start_new_thread(started_below_threading, ())
        waiting.wait(20)
        report = gencore.Pipeline(collectors=["manifest"], directory=tmp_path).run()
    manifest = json.loads(report.path_of("manifest").read_text())

    unknown = [row for row in manifest["threads"] if row["tid"] is None]
    (row,) = [row for row in unknown if row["python"]["ident"] == ident]
    assert "started_below_threading" in row["python"]["frames"][0]["function"]


OUTLIVED = """if True:
    import ctypes, gencore, os, shutil, sys
    directory, executable, *replaced = sys.argv[1:]
    for path in replaced:  # another file takes the place of one that is in use
        ctypes.CDLL(path)
        shutil.copy("/bin/true", path + ".new")
        os.rename(path + ".new", path)
    if executable:
        os.unlink(executable)
    print(gencore.collect_core(directory=directory))
"""


def verified(path):
    """Return what `gencore verify` finds wrong."""
    with BundleReader(path) as reader:
        return [problem for check in verify(reader) for problem in check.problems]


def test_extension_that_was_replaced_on_disk_is_packed_as_it_is_mapped(tmp_path):
    """The file that took its place would lead every debugger astray."""
    if os.getuid() != 0:
        pytest.skip("only root may read what is mapped and gone")
    extension = tmp_path / "extension.so"
    shutil.copy(importlib.util.find_spec("_heapq").origin, extension)
    data = extension.read_bytes()
    command = [sys.executable, "-c", OUTLIVED, tmp_path, "", extension]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    path = Path(done.stdout.strip())
    with BundleReader(path) as reader, reader.open(str(extension).lstrip("/")) as member:
        assert member.read() == data
    assert verified(path) == []


def test_process_with_numpy_is_whole(tmp_path):
    """Its libraries bring others along, under names that nobody else knows."""
    code = "import numpy, sys, gencore; print(gencore.collect_core(directory=sys.argv[1]))"
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())

    with BundleReader(path) as reader:
        names = [member.path for member in reader.members]
    assert any("numpy" in name for name in names)
    assert any("openblas" in name for name in names)
    assert verified(path) == []


def test_process_whose_executable_was_deleted_opens_in_gdb(installed, tmp_path, tool):
    """Every frame has its name: the executable is read through /proc/self/exe."""
    executable = installed[1].with_name("deleted-soon")
    shutil.copy(os.path.realpath(installed[1]), executable)
    command = [executable, "-c", OUTLIVED, tmp_path, executable]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())

    debug = [sys.executable, "-m", "gencore", "open", path, "--", "-batch", "-ex", "bt"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    shown = subprocess.run(
        debug, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert tool("gdb")
    assert not executable.exists()
    assert " in _start " in shown
    assert "??" not in shown
    assert verified(path) == []
