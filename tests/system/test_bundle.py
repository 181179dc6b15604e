"""The bundle of a live process: its layout and contents."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import gencore


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Make one bundle of this process."""
    return gencore.collect_core(directory=tmp_path_factory.mktemp("bundle"))


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
