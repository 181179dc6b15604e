"""Finds objects that are too large for a pool, in chunks of memory from the C library's malloc.

Layout: malloc/malloc.c of glibc. In front of the memory that malloc returns is a word with the
chunk's size; of its low bits the first says that the chunk before is in use, the second that the
chunk is a mapping of its own.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.heap_objects import of_each_type
from gencore.analysis.heap.pools import POOL_SIZE, Pools
from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import TypeTable
from gencore.analysis.interpreter.words import Addresses, Mask, Run, Words

__all__ = ["ChunkLayout", "LargeObjects", "find_large_objects", "runs_outside"]

Numbers = NDArray[np.int64]

_SIZE_BEFORE: Final = 8
_HEAD: Final = 16
_SMALLEST: Final = 32
_MOST_REST: Final = 4096
"""Bytes that may be left in a chunk, and as many as the object has: it may have been larger."""
_PAGE: Final = 4096
_PREVIOUS_IN_USE, _MAPPED, _FLAGS = (np.uint64(bits) for bits in (1, 2, 7))


@attrs.frozen
class ChunkLayout:
    """What is in a chunk beside the object, in bytes."""

    smallest: int
    """Objects of so many bytes or fewer are in pools, if there are any.

    But for those that were larger and have been resized, of which nothing is left in the chunk.
    """
    in_front: int = 0
    """What a debugging allocator puts in front of the object, and behind it."""
    behind: int = 0


@attrs.frozen(eq=False)
class LargeObjects:
    """Objects in chunks, in order of address."""

    addresses: Addresses
    rows: Numbers
    """Of their types."""
    chunks: Numbers
    """Bytes of the chunk that each is in."""


def runs_outside(words: Words, pools: Pools) -> Iterator[Run]:
    """Yield the writable memory that is in no pool."""
    for run in words.writable():
        first, last = np.searchsorted(pools.addresses, [run.start, run.end])
        start = run.start
        for address in map(int, pools.addresses[first:last]):
            if start < address:
                yield run.part(start, address)
            start = address + POOL_SIZE
        if start < run.end:
            yield run.part(start, run.end)


def find_large_objects(
    words: Words, types: TypeTable, sizes: Sizes, runs: Iterable[Run], layout: ChunkLayout
) -> LargeObjects:
    """Return the objects in chunks that are as large as the objects need.

    Of chunks that overlap, which old contents of memory can look like, the first counts.
    """
    found = [_in_run(words, types, run, layout) for run in runs if run.path is None]
    addresses, rows, chunks = _joined(found)
    things, there = words.things(addresses)
    addresses, rows, chunks = addresses[there], rows[there], chunks[there]
    fit = np.zeros(len(addresses), np.bool_)
    for row, of_type in of_each_type(rows, len(types)):
        needed = sizes.of_block(row, things.chosen(of_type)) + layout.in_front + layout.behind
        rest = chunks[of_type] - _SIZE_BEFORE - needed
        fit[of_type] = (rest >= 0) & (rest < needed + _MOST_REST)
        resizable = bool(types.item_sizes[row])
        fit[of_type] &= (needed > layout.smallest) | (resizable & (rest < _SMALLEST))
    return _first_of_overlapping(addresses[fit], rows[fit], chunks[fit], layout.in_front)


def _first_of_overlapping(
    addresses: Addresses, rows: Numbers, chunks: Numbers, in_front: int
) -> LargeObjects:
    order = np.argsort(addresses)
    addresses, rows, chunks = addresses[order], rows[order], chunks[order]
    ends = np.maximum.accumulate(addresses + chunks.view(np.uint64))
    alone = np.ones(len(addresses), np.bool_)
    alone[1:] = addresses[1:] >= ends[:-1] - np.uint64(2 * _HEAD + in_front)
    return LargeObjects(addresses[alone], rows[alone], chunks[alone])


def _in_run(
    words: Words, types: TypeTable, run: Run, layout: ChunkLayout
) -> tuple[Addresses, Numbers, Numbers]:
    """Return what may be objects in chunks, the rows of their types, and the chunks' sizes."""
    places, rows = _joined_hits(types.within(run))
    objects = places - np.uint64(8)
    blocks = objects - types.preheaders[rows].view(np.uint64) - np.uint64(layout.in_front)
    word, there = words.at(blocks - np.uint64(_SIZE_BEFORE))
    size = word & ~_FLAGS
    good = there & (blocks % np.uint64(_HEAD) == 0) & (size % np.uint64(_HEAD) == 0)
    good &= (size >= _SMALLEST) & _is_whole(words, run, blocks, word, size)
    return objects[good], rows[good], size[good].view(np.int64)


def _is_whole(words: Words, run: Run, blocks: Addresses, word: Addresses, size: Addresses) -> Mask:
    """Whether a chunk is a whole mapping, or is followed by one that knows it to be in use."""
    chunks = blocks - np.uint64(_HEAD)
    room = np.uint64(run.end) - chunks
    mapped = word & _MAPPED != 0
    whole = (chunks % np.uint64(_PAGE) == 0) & (size % np.uint64(_PAGE) == 0) & (size <= room)
    following, there = words.at(chunks + size + np.uint64(_SIZE_BEFORE))
    in_use = there & (following & _PREVIOUS_IN_USE != 0) & (following & _MAPPED == 0)
    in_use &= (following & ~_FLAGS) >= _HEAD
    sound: Mask = np.where(mapped, whole, in_use)
    return sound


def _joined(
    rows: list[tuple[Addresses, Numbers, Numbers]],
) -> tuple[Addresses, Numbers, Numbers]:
    none = np.zeros(0, np.int64)
    columns = zip((none.view(np.uint64), none, none), *rows, strict=True)
    first, second, third = (np.concatenate(column) for column in columns)
    return first, second, third


def _joined_hits(found: Iterator[tuple[Addresses, Numbers]]) -> tuple[Addresses, Numbers]:
    places, rows, _ = _joined([(place, row, row) for place, row in found])
    return places, rows
