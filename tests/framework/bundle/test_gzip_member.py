"""The gzip member that one block becomes."""

import gzip
import io
import os
import subprocess
import tarfile

import pytest

from gencore._runtime.os_thread import NoThread
from gencore.bundle import BundleWriter, frames
from gencore.bundle.gzip_member import gzip_member

MIB = 1 << 20


def packed(data):
    """Return a bundle with a core of these bytes."""
    file = io.BytesIO()
    bundle = BundleWriter(file, "top", 0)
    bundle.begin("core", len(data), tree=True)
    bundle.write(data)
    bundle.end()
    bundle.close()
    return file.getvalue()


@pytest.mark.parametrize("size", [1, 512, 65535, 65536, 2 * 65535, MIB - 512, MIB])
def test_random_bytes_are_stored_and_any_gzip_reads_them(size):
    """They do not grow by more than what stored blocks need, whatever the length."""
    block = os.urandom(size)
    member = gzip_member(block, 2)
    assert gzip.decompress(member) == block
    assert len(member) < size + 100 + 5 * size // 65535


def test_a_block_that_is_half_text_is_compressed():
    """One part that shrinks is enough."""
    block = os.urandom(MIB // 2) + b"text " * (MIB // 10)
    assert len(gzip_member(block, 2)) < 0.6 * MIB


@pytest.mark.parametrize("eighth", range(8))
def test_a_block_of_which_an_eighth_is_text_is_compressed(eighth):
    """Wherever that is."""
    block = bytearray(os.urandom(MIB))
    block[eighth * MIB // 8 : (eighth + 1) * MIB // 8] = (b"text " * MIB)[: MIB // 8]

    assert len(gzip_member(block, 2)) < 0.9 * MIB


def test_the_same_bytes_become_the_same_member():
    """Whether they are stored or compressed, and at whatever time."""
    for block in (os.urandom(MIB), bytes(MIB), os.urandom(512)):
        assert gzip_member(block, 2)[4:8] == bytes(4)
        assert gzip_member(block, 2) == gzip_member(bytearray(block), 2)


def test_tar_unpacks_stored_blocks(tmp_path):
    """The system's own, and Python's."""
    data = os.urandom(3 * MIB + 7) + bytes(2 * MIB)
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(packed(data))
    subprocess.run(["tar", "xzf", path, "-C", tmp_path], check=True)
    assert (tmp_path / "top/core").read_bytes() == data
    with tarfile.open(path) as tar:
        assert tar.extractfile("top/core").read() == data


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 1, 9 * MIB + 511])
def test_without_threads_a_bundle_is_the_same(monkeypatch, size):
    """Who writes it packs it too then, whatever is left of the last two blocks."""
    data = os.urandom(size)
    expected = packed(data)

    def refuse(*_):
        raise NoThread

    monkeypatch.setattr(frames, "OsThread", refuse)
    assert packed(data) == expected
