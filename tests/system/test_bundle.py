"""The bundle of a live process: layout, contents, and its manifest."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import fastjsonschema
import pytest

import gencore
import gencore_collectors.manifest


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


def test_manifest_follows_its_published_schema(manifest):
    """The schema ships beside the collector."""
    schema = Path(gencore_collectors.manifest.__file__).with_name("schema.json")

    fastjsonschema.compile(json.loads(schema.read_text()))(manifest)


def test_manifest_tells_the_hash_of_every_member(bundle, manifest):
    """Core and libraries are what the manifest says."""
    top = top_of(bundle)
    said = {row["archive_path"]: row["sha256"] for row in manifest["libraries"]}
    said["core"] = manifest["core"]["sha256"]
    with tarfile.open(bundle) as tar:
        for path in filter(None, said):
            data = tar.extractfile(f"{top}/{path}").read()
            assert hashlib.sha256(data).hexdigest() == said[path], path


def test_manifest_holds_the_python_stacks_without_values(manifest):
    """The calling thread's stack leads through this test's fixture; no locals anywhere."""
    (row,) = [r for r in manifest["threads"] if r["tid"] == threading.get_native_id()]
    functions = [frame["function"] for frame in row["python"]["frames"]]

    assert "bundle" in functions
    assert row["registers"] == "exact"


def test_manifest_keeps_annotations_and_hides_argument_values(python):
    """Option names stay, values go."""
    code = "import gencore, sys, json; print(json.dumps(str(gencore.collect_core(directory='.'))))"
    path = Path(python(code, "--password=hunter2", "swordfish"))
    with tarfile.open(path) as tar:
        found = json.load(tar.extractfile(f"{top_of(path)}/manifest.json"))

    assert "hunter2" not in json.dumps(found["process"])
    assert "swordfish" not in json.dumps(found["process"])
    assert "--password" in found["process"]["argv"]
