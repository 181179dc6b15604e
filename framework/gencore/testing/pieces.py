"""Bytes for destinations and filters, in pieces as a dump passes them on."""

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Protocol

__all__ = ["sample", "write_in_pieces"]


class _TakesBytes(Protocol):
    def write(self, data: memoryview, /) -> object:
        """Take the next bytes."""


def sample(size: int, seed: int = 1) -> bytes:
    """Return *size* bytes, the same ones each time: half of them compress, half do not."""
    return random.Random(seed).randbytes(size - size // 2) + bytes(size // 2)  # noqa: S311 - no key


def write_in_pieces(sink: _TakesBytes, data: bytes, sizes: Iterable[int] = (1000,)) -> None:
    """Write *data* in pieces of *sizes*, over and over, each overwritten once it was taken."""
    for piece in _cut(data, itertools.cycle(sizes)):
        buffer = bytearray(piece)
        sink.write(memoryview(buffer).toreadonly())
        buffer[:] = bytes(len(buffer))  # as the next chunk of a core would: none may be kept


def _cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size
