"""Blocks that are written while the ones behind them are packed."""

import errno
import io
import os

import pytest

from gencore._runtime.os_thread import Latch, OsThread, wait_for_all
from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.writer import BundleWriter

BATCH = os.urandom(BLOCK_SIZE) * 2


class FailingFile(io.BytesIO):
    """A file on a disk that is full after some writes."""

    def write(self, data):
        if self.tell() > 3 * BLOCK_SIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


class SlowFile(io.BytesIO):
    """A file whose first block is written only once somebody allows it."""

    def __init__(self):
        super().__init__()
        self.writes = Latch()
        self.allowed = Latch()

    def write(self, data):
        if len(data) > BLOCK_SIZE // 2:
            self.writes.open()
            self.allowed.wait()
        return super().write(data)


@pytest.mark.parametrize("refused", ["", "gencore-pack", "gencore-write"])
def test_a_write_that_fails_ends_the_bundle(refused, refuse_thread):
    """Its error is that of a later call, whoever has written, and of no other one."""
    if refused:
        refuse_thread(refused)
    bundle = BundleWriter(FailingFile(), "top", 0)
    bundle.begin("core", 64 * BLOCK_SIZE, tree=True)

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        bundle.write(BATCH * 16)

    bundle.abort()


class FileThatFailsOnce(io.BytesIO):
    """A file on a disk that was full for a moment."""

    has_failed = False

    def write(self, data):
        if len(data) > BLOCK_SIZE // 2 and not self.has_failed:
            self.has_failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("refused", ["", "gencore-pack", "gencore-write"])
def test_nothing_is_written_behind_what_could_not_be(refused, refuse_thread):
    """Whoever reads a pipe would take the rest for the whole."""
    if refused:
        refuse_thread(refused)
    file = FileThatFailsOnce()
    bundle = BundleWriter(file, "top", 0)
    bundle.begin("core", 8 * BLOCK_SIZE, tree=True)
    bundle._frames.write_all()
    written = file.tell()

    bundle.write(BATCH * 2)  # so much may always wait
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        bundle.tree_hash("core")
    with pytest.raises(OSError, match="what comes before"):
        bundle._frames._pending[-1]()

    assert file.tell() == written
    bundle.abort()


def test_nothing_is_written_once_a_bundle_is_aborted():
    """What is being written just then is waited for: its descriptor may be another file's soon."""
    file = SlowFile()
    bundle = BundleWriter(file, "top", 0)
    bundle.begin("core", 64 * BLOCK_SIZE, tree=True)
    bundle.write(BATCH)
    bundle.write(BATCH)
    assert file.writes.wait(60)

    aborting = OsThread(bundle.abort)
    assert aborting.begun.wait(60)
    assert not aborting.join(0.05)  # it waits as long as that is written
    file.allowed.open()
    assert aborting.join(60)

    written = file.tell()
    assert written >= BLOCK_SIZE
    wait_for_all(60)
    assert file.tell() == written


def test_a_bundle_that_nobody_ends_leaves_no_thread(settled):
    """Once it is gone, as after an error behind which nobody cleans up."""
    bundle = BundleWriter(io.BytesIO(), "top", 0)
    bundle.begin("core", 64 * BLOCK_SIZE)
    bundle.write(BATCH * 4)

    del bundle

    settled()
