"""The hashes of two blocks at once: by our own code, and by hashlib where that cannot run."""

import hashlib
import random

import pytest

from gencore.bundle import _sha256, tree_hash

own_code = pytest.mark.skipif(not _sha256.AVAILABLE, reason="no SHA instructions")
VECTORS = {
    b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
    b"lmnopqrsmnopqrstnopqrstu": (
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
    ),
    b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}
"""Two of NIST's examples for SHA-256."""


def leaf(block):
    """Return what RFC 9162 wants."""
    return hashlib.sha256(b"\0" + block).digest()


@own_code
def test_our_own_code_has_the_hashes_of_nists_examples():
    """Two messages of unlike length, in either order."""
    short, long = VECTORS
    expected = bytes.fromhex(VECTORS[short]), bytes.fromhex(VECTORS[long])
    assert _sha256.two(b"", short, long) == expected
    assert _sha256.two(b"", long, short) == expected[::-1]


@pytest.mark.parametrize("code", [pytest.param(tree_hash._two, marks=own_code), None])
def test_two_hashes_at_once_are_those_of_hashlib(monkeypatch, code):
    """Lengths around each border of a block of SHA-256, and equal and unlike ones."""
    monkeypatch.setattr(tree_hash, "_two", code)
    chance = random.Random(17)
    lengths = [*range(200), *(chance.randrange(1 << 14) for _ in range(100)), 1 << 20]
    for length in lengths:
        first, second = chance.randbytes(length), chance.randbytes(chance.choice(lengths))
        hashes = tree_hash.block_hashes(memoryview(first), bytearray(second))
        assert hashes == (leaf(first), leaf(second)), (length, len(second))


@own_code
def test_any_prefix_is_hashed_before_both():
    """Up to as much as a block of SHA-256."""
    first, second = bytes(range(64)), bytes(130)
    for size in range(65):
        prefix = bytes(size)
        expected = tuple(hashlib.sha256(prefix + data).digest() for data in (first, second))
        assert _sha256.two(prefix, first, second) == expected


@own_code
def test_what_our_own_code_cannot_hash_is_refused():
    """A message that does not fill a block, and a prefix that overfills one."""
    for arguments in ((b"", b"a" * 63, b"a" * 64), (b"", b"a" * 64, b""), (b"a" * 65, *VECTORS)):
        with pytest.raises(ValueError, match="too short"):
            _sha256.two(*arguments)
