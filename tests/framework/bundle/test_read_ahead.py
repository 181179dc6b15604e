"""Blocks are decompressed beside who hashes them: nothing else changes by that."""

import gc
import os
import random
import select
from pathlib import Path

import pytest

from gencore._runtime import other_thread
from gencore.bundle import BundleReader
from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.walk import walk
from gencore.errors import IntegrityError

FILES = {
    "core": random.Random(1).randbytes(BLOCK_SIZE // 4) * 13 + b"end",  # the last block is short
    "small": b"x",
    "manifest.json": b"{}",
}


@pytest.fixture
def path(tmp_path, codec, write_bundle):
    """Write a bundle of some blocks."""
    return write_bundle(tmp_path / f"bundle.{codec.extension}", FILES)


def files_of(path):
    with BundleReader(path) as bundle:
        return {member.path: content.read() for member, content in walk(bundle, lambda _: None)}


def threads():
    """Return those of this process that read ahead."""
    names = [Path(f"/proc/self/task/{tid}/comm") for tid in os.listdir("/proc/self/task")]
    return [name for name in names if name.exists() and "gencore-ahead" in name.read_text()]


def wait_for_no_thread():
    while threads():
        select.select([], [], [], 0.01)


def test_a_bundle_that_is_read_to_its_end_leaves_no_thread(path):
    """And has what was packed."""
    assert files_of(path) == FILES
    wait_for_no_thread()


def test_a_bundle_that_is_not_read_to_its_end_leaves_no_thread(path):
    """Nobody closes what has begun."""
    with BundleReader(path) as bundle:
        members = walk(bundle, lambda _: None)
        _, content = next(members)
        assert content.read(10)
        assert threads()
        del members, content
    gc.collect()

    wait_for_no_thread()


def test_without_a_thread_it_is_read_all_the_same(path, monkeypatch):
    """Where the limit of processes is reached, for example."""

    def refuse(*_):
        raise other_thread.NoThread("no more")

    monkeypatch.setattr(other_thread, "OsThread", refuse)

    assert files_of(path) == FILES


def test_damage_is_found_where_it_is(path):
    """What is before it is read; who reads on gets the error of the thread, which ends."""
    with BundleReader(path) as bundle:
        places = bundle.contents.members[0].places
    data = bytearray(path.read_bytes())
    data[places[2] + 30 : places[3] - 30] = bytes(places[3] - places[2] - 60)
    path.write_bytes(data)

    with BundleReader(path) as bundle:
        _, content = next(walk(bundle, lambda _: None))
        assert len(content.read(BLOCK_SIZE)) == BLOCK_SIZE
        with pytest.raises(IntegrityError):
            content.read(1)
    del content, bundle

    wait_for_no_thread()
