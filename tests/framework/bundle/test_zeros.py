"""Blocks that hold nothing but zeros, as most of a core that was never touched does."""

import io
import tarfile

import pytest

from gencore.bundle.codecs import GZIP
from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.tree_hash import block_hash, root_hash
from gencore.bundle.writer import BundleWriter

DATA = b"".join(
    (
        bytes(5 * BLOCK_SIZE),  # the fifth is packed together with the next
        b"x" * BLOCK_SIZE,
        bytes(2 * BLOCK_SIZE - 1) + b"y",
        bytes(2 * BLOCK_SIZE),
        bytes(3 * BLOCK_SIZE // 2),  # a block and a half
    )
)


class Counting(type(GZIP)):
    """gzip that counts what it compresses."""

    def __init__(self):
        self.blocks = []

    def compressor(self, level):
        compress = super().compressor(level)

        def counted(block):
            self.blocks.append(len(block))
            return compress(block)

        return counted


def packed(data, codec=GZIP):
    """Return the bundle of one member, and the hash over its blocks."""
    file = io.BytesIO()
    bundle = BundleWriter(file, "top", 0, codec)
    bundle.begin("core", len(data), tree=True)
    bundle.write(data)
    bundle.end()
    found = bundle.tree_hash("core")
    bundle.close()
    return file.getvalue(), found


@pytest.mark.parametrize("refused", ["", "gencore-pack", "gencore-write"])
def test_zeros_are_in_the_bundle_as_any_bytes_are(refused, refuse_thread):
    """With the same hashes, wherever they are, and whoever packs them."""
    if refused:
        refuse_thread(refused)

    bundle, found = packed(DATA)

    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        assert tar.extractfile("top/core").read() == DATA
    blocks = (DATA[at : at + BLOCK_SIZE] for at in range(0, len(DATA), BLOCK_SIZE))
    assert found == root_hash(map(block_hash, blocks))


def test_zeros_are_compressed_once():
    """By each thread at most, however many there are."""
    codec = Counting()

    packed(bytes(64 * BLOCK_SIZE), codec)

    assert codec.blocks.count(BLOCK_SIZE) <= 4
