"""Finds pools whose memory is zeros, though it was in use: a core that was copied with holes.

CPython has a table of the arenas that its pools lie in. Each row has an arena's address, and how
far pools were ever made in it; from then on a pool has a header that is never all zeros. Layout:
Include/internal/pycore_obmalloc.h, ``struct arena_object``, the same in CPython 3.11 to 3.15.
"""

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.chunks import runs_outside
from gencore.analysis.heap.pools import POOL_SIZE, Pools
from gencore.analysis.interpreter.words import Addresses, Mask, Run, Words

__all__ = ["zeroed_pools"]

Numbers = NDArray[np.int64]

_ROW: Final = 48
_HEADER: Final = 48
_INDEX_AT: Final = 32
"""In a pool's header: which row its arena has, 32 bits."""
_IN_PAGE, _POOL = np.uint64((1 << 12) - 1), np.uint64(POOL_SIZE)
_SIZES: Final = (63, 64, 127, 128)
"""Pools that an arena of one or two MiB has, of which the first may begin behind its beginning."""
_LARGEST: Final = 1 << 21
"""Bytes of an arena."""
_PIECE: Final = 1 << 17
"""Words that are compared at a time, so that they stay in the processor's cache."""


@attrs.frozen(eq=False)
class _Rows:
    """What may be rows of a table of arenas."""

    places: Addresses
    """Where they are."""
    first: Addresses
    """The first pool of each arena."""
    end: Addresses
    """The end of the last pool that was ever made in it."""
    sizes: Numbers
    """Pools that it has room for."""

    def chosen(self, which: Mask) -> "_Rows":
        """Return some of them."""
        return _Rows(self.places[which], self.first[which], self.end[which], self.sizes[which])


def zeroed_pools(words: Words, pools: Pools) -> str | None:
    """Return that pools were in use, and have zeros for a header, if the table says so of some."""
    count = _count(words, pools)
    return f"{count:,} pools of objects were in use, and are zeros in the core" if count else None


def _count(words: Words, pools: Pools) -> int:
    runs = [run for run in runs_outside(words, pools) if run.path is None]
    if not len(pools) or not runs:
        return 0
    lowest, highest = pools.addresses[0] - np.uint64(_LARGEST), pools.addresses[-1]
    found = [_rows_in(run, lowest, highest - lowest) for run in runs]
    columns = zip(*(attrs.astuple(rows, recurse=False) for rows in found), strict=True)
    rows = _of_the_table(words, pools, _Rows(*(np.concatenate(column) for column in columns)))
    ranges = zip(rows.first.tolist(), rows.end.tolist(), strict=True)
    made = [np.arange(first, end, POOL_SIZE, dtype=np.uint64) for first, end in ranges]
    heads = np.concatenate([np.zeros(0, np.uint64), *made])
    heads = heads[~pools.have(heads)]
    zeroed = np.ones(len(heads), np.bool_)
    for offset in range(0, _HEADER, 8):
        word, there = words.at(heads + np.uint64(offset))
        zeroed &= there & (word == 0)
    return int(zeroed.sum())


def _rows_in(run: Run, lowest: np.uint64, span: np.uint64) -> _Rows:
    """Return what is a row of such a table by itself, of an arena in some range of addresses."""
    pieces = (run.words[at : at + _PIECE] for at in range(0, len(run.words), _PIECE))
    hits = [np.flatnonzero(piece - lowest <= span) for piece in pieces]
    at = np.concatenate([np.zeros(0, np.int64), *(n * _PIECE + hit for n, hit in enumerate(hits))])
    at = at[(at < len(run.words) - 3) & (run.words[at] & _IN_PAGE == 0)]
    address, end, counts, free = (run.words[at + column] for column in range(4))
    sizes = (counts >> np.uint64(32)).view(np.int64)
    first = -(-address.view(np.int64) // POOL_SIZE).view(np.uint64) * _POOL
    rows = _Rows(np.uint64(run.start) + at.view(np.uint64) * np.uint64(8), first, end, sizes)
    made = end - first
    sound = np.isin(sizes, _SIZES) & (counts & np.uint64(0xFFFFFFFF) <= sizes.view(np.uint64))
    sound &= (made % _POOL == 0) & (made <= sizes.view(np.uint64) * _POOL)
    sound &= (free == 0) | (free - first < made)
    return rows.chosen(sound)


def _of_the_table(words: Words, pools: Pools, rows: _Rows) -> _Rows:
    """Return the rows of the table that has most: others are what it was before it was enlarged.

    Where the table begins, each row says by its number, which is in the headers of its pools.
    """
    behind = np.minimum(np.searchsorted(pools.addresses, rows.first), len(pools) - 1)
    known = pools.addresses[behind] - rows.first < rows.sizes.view(np.uint64) * _POOL
    numbers = words.at(pools.addresses[behind] + np.uint64(_INDEX_AT))[0] & np.uint64(0xFFFFFFFF)
    begins, counts = np.unique(
        (rows.places - numbers * np.uint64(_ROW))[known], return_counts=True
    )
    most = np.flatnonzero(counts == counts.max(initial=1))
    if len(most) != 1:
        return rows.chosen(np.zeros(len(rows.places), np.bool_))
    distance = rows.places - begins[most[0]]
    room = np.uint64(2 * _ROW * (int(numbers[known].max(initial=0)) + 16))
    return rows.chosen((distance % np.uint64(_ROW) == 0) & (distance < room))
