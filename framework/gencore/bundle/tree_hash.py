"""One hash over many blocks, which may be computed in parallel and checked block by block.

The Merkle tree hash of RFC 9162 (Certificate Transparency 2.0), 2.1.1, with SHA-256.
"""

import hashlib
from collections.abc import Iterable

__all__ = ["block_hash", "root_hash"]


def block_hash(block: "bytes | bytearray | memoryview") -> bytes:
    """Return the hash of one block, a leaf of the tree."""
    digest = hashlib.sha256(b"\0")
    digest.update(block)
    return digest.digest()


def root_hash(leaves: Iterable[bytes]) -> str:
    """Return the hash over the blocks with these hashes, hexadecimal."""
    level = list(leaves)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[len(level) & ~1 :]  # has no sibling: it moves up as it is
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return (level[0] if level else hashlib.sha256().digest()).hex()
