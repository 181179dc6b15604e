"""Makes one gzip member of a block: compressed or, where that does not pay, stored."""

import struct
from typing import Final

from isal import igzip_lib, isal_zlib

__all__ = ["gzip_member"]

_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_STORED: Final = struct.Struct("<BHH")
"""Whether a stored block of deflate (RFC 1951, 3.2.4) is the last, its length, and the inverse."""
_LONGEST: Final = 0xFFFF
_TRAILER: Final = struct.Struct("<II")
_PROBES: Final = 8
_PROBE: Final = 4 << 10
_WORTH_IT: Final = 0.98
"""How small a probe is compressed if there is something to gain."""


def gzip_member(data: "bytes | bytearray | memoryview", level: int) -> bytes:
    """Return the same for the same bytes. *level* is isal's."""
    block = memoryview(data)
    if _does_not_shrink(block):
        return _stored(block)
    return igzip_lib.compress(block, level, flag=igzip_lib.COMP_GZIP)  # igzip's has the time


def _does_not_shrink(block: memoryview) -> bool:
    """Compress some parts of a block: most shrink at the first, the others need one call more."""
    step = len(block) // _PROBES
    if step < _PROBE:
        return False
    first, *others = (block[at : at + _PROBE] for at in range(0, step * _PROBES, step))
    return not (_shrinks(first) or _shrinks(b"".join(others)))


def _shrinks(probe: "bytes | memoryview") -> bool:
    return len(isal_zlib.compress(probe, 1)) <= _WORTH_IT * len(probe)


def _stored(block: memoryview) -> bytes:
    parts: list[bytes | memoryview] = [_HEADER]
    for begin in range(0, len(block), _LONGEST):
        part = block[begin : begin + _LONGEST]
        last = begin + len(part) == len(block)
        parts += [_STORED.pack(last, len(part), len(part) ^ _LONGEST), part]
    parts.append(_TRAILER.pack(isal_zlib.crc32(block), len(block)))
    return b"".join(parts)
