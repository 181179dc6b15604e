"""One hash over many blocks, which may be computed in parallel and checked block by block.

The Merkle tree hash of RFC 9162 (Certificate Transparency 2.0), 2.1.1, with SHA-256.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["block_hash", "block_hashes", "root_hash"]

_Block = bytes | bytearray | memoryview
_LEAF: Final = b"\0"
_LEAST: Final = 64
"""Bytes of a block that our own code can hash."""


def _own_code() -> Callable[..., tuple[bytes, bytes]] | None:
    """Return what hashes two blocks in the time of one; None if this machine has no such thing."""
    try:
        from gencore.bundle import _sha256
    except ImportError:  # built without its C part
        return None
    return _sha256.two if _sha256.AVAILABLE else None


_two: Final[Any] = _own_code()


def block_hash(block: _Block) -> bytes:
    """Return the hash of one block, a leaf of the tree."""
    digest = hashlib.sha256(_LEAF)
    digest.update(block)
    return digest.digest()


def block_hashes(first: _Block, second: _Block) -> tuple[bytes, bytes]:
    """Return the hashes of two blocks, which may take no longer than that of one."""
    if _two is None or min(len(first), len(second)) < _LEAST:
        return block_hash(first), block_hash(second)
    return _two(_LEAF, first, second)  # type: ignore[no-any-return]  # bytes


def root_hash(leaves: Iterable[bytes]) -> str:
    """Return the hash over the blocks with these hashes, hexadecimal."""
    level = list(leaves)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[len(level) & ~1 :]  # has no sibling: it moves up as it is
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return (level[0] if level else hashlib.sha256().digest()).hex()
