"""The bundle of a live process: layout, contents, and its manifest."""

import _thread
import json
import os
import subprocess
import sys
import tarfile
import threading
import uuid
from datetime import datetime
from pathlib import Path

import pytest

import gencore


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Make one bundle of this process."""
    return gencore.collect_core(
        directory=tmp_path_factory.mktemp("bundle"), annotations={"reason": "test"}
    )


@pytest.fixture(scope="module")
def manifest(bundle):
    """Read its manifest."""
    with tarfile.open(bundle) as tar:
        return json.load(tar.extractfile(f"{top_of(bundle)}/manifest.json"))


def top_of(bundle):
    return bundle.name.removesuffix(".tar.gz")


def test_everything_is_below_one_folder_of_the_bundles_name(bundle):
    """The name is core_<date>.<time>.<pid>.<seq>."""
    with tarfile.open(bundle) as tar:
        tops = {name.partition("/")[0] for name in tar.getnames()}

    assert tops == {top_of(bundle)}
    assert f".{os.getpid()}." in bundle.name


def test_executable_and_libraries_keep_their_paths(bundle):
    """Each is the very file that is mapped."""
    executable = os.path.realpath(sys.executable)
    with tarfile.open(bundle) as tar:
        packed = tar.extractfile(top_of(bundle) + executable).read()
        names = tar.getnames()

    assert packed == Path(executable).read_bytes()
    assert any("/libc.so.6" in name for name in names)


def test_ordinary_tools_open_it(bundle, tool):
    """`gzip -t` and `tar tzf` know nothing of our gzip members."""
    subprocess.run([tool("gzip"), "-t", bundle], check=True)
    listed = subprocess.run([tool("tar"), "tzf", bundle], capture_output=True, check=True)

    assert b"manifest.json" in listed.stdout


def test_archive_packs_last_whatever_the_order(tmp_path):
    """Named first, it still takes the manifest into the bundle, and nothing stands beside it."""
    report = gencore.Pipeline(collectors=["archive", "manifest"], directory=tmp_path).run()

    with tarfile.open(report.path_of("archive")) as tar:
        assert f"{report.name}/manifest.json" in tar.getnames()
    assert os.listdir(tmp_path) == [f"{report.name}.tar.gz"]


def test_what_went_into_a_bundle_belongs_to_its_owner_alone(bundle):
    """Also once it is unpacked: core and manifest 0600, programs 0700."""
    with tarfile.open(bundle) as tar:
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
    (libc,) = [row for row in manifest["libraries"] if "/libc.so.6" in row["path"]]

    assert len(libc["build_id"]) == 40


def test_manifest_names_plug_ins_that_were_not_loaded(python, tmp_path):
    """A broken backend that nobody asked for is a warning and not an error."""
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

    result, warnings, written = python(code, env={"PYTHONPATH": str(tmp_path)})

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
        _thread.start_new_thread(started_below_threading, ())
        waiting.wait(20)
        report = gencore.Pipeline(collectors=["manifest"], directory=tmp_path).run()
    manifest = json.loads(report.path_of("manifest").read_text())

    (row,) = [row for row in manifest["threads"] if row["tid"] is None]
    assert "started_below_threading" in row["python"]["frames"][0]["function"]
