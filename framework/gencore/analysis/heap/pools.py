"""Finds CPython's pools of small blocks, which describe themselves, and their blocks in use.

Layout: Include/internal/pycore_obmalloc.h and Objects/obmalloc.c of CPython 3.11 to 3.15, where a
pool has 16 KiB, is aligned to them, and has blocks of one size, at most 512 bytes.
"""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.interpreter.words import Addresses, Mask, Run, Things, Words

__all__ = ["LARGEST_BLOCK", "POOL_SIZE", "Pools", "blocks_in_use", "find_pools"]

POOL_SIZE: Final = 1 << 14
"""Bytes."""
LARGEST_BLOCK: Final = 512
"""Bytes; what is larger comes from malloc."""
_HEAD: Final = 48
_STEP: Final = 16
"""Bytes by which the sizes of blocks differ."""
_MOST_POOLS: Final = 1 << 7
"""That are looked at together, so that what is in work stays in the processor's cache."""

Numbers = NDArray[np.int64]


@attrs.frozen(eq=False)
class Pools:
    """Pools in order of address; the other arrays have a row for each."""

    addresses: Addresses
    sizes: Numbers
    """Bytes of a block."""
    used: Numbers
    """Blocks in use."""
    carved: Numbers
    """Blocks that were ever used: those behind them have never been."""
    free: Addresses
    """The first block of the list of free ones, or 0."""

    def __len__(self) -> int:
        return len(self.addresses)

    def have(self, addresses: Addresses) -> Mask:
        """Return which addresses lie in a pool."""
        if not len(self):
            return np.zeros(len(addresses), np.bool_)
        index = np.searchsorted(self.addresses, addresses, "right") - 1
        return (index >= 0) & (addresses - self.addresses[index] < POOL_SIZE)

    def block_at(self, rows: Numbers, addresses: Addresses) -> Addresses:
        """Return where the blocks begin that have the addresses, of pools in some rows."""
        begins = self.addresses[rows] + np.uint64(_HEAD)
        sizes = self.sizes[rows].view(np.uint64)
        return begins + (addresses - begins) // sizes * sizes

    def chosen(self, which: Mask | Numbers) -> "Pools":
        """Return some of them."""
        return Pools(*(column[which] for column in attrs.astuple(self, recurse=False)))

    def batches(self) -> Iterator["Pools"]:
        """Yield all, in batches of one size of blocks."""
        for size in np.unique(self.sizes):
            rows = np.flatnonzero(self.sizes == size)
            for first in range(0, len(rows), _MOST_POOLS):
                yield self.chosen(rows[first : first + _MOST_POOLS])


def find_pools(words: Words) -> Pools:
    """Return the pools in writable memory that are in use, those whose header is sound."""
    rows = [_pools_in(run) for run in words.writable() if run.path is None]
    none = np.zeros(0, np.int64)
    rows.append((none.view(np.uint64), none, none, none, none.view(np.uint64)))
    found = Pools(*(np.concatenate(column) for column in zip(*rows, strict=True)))
    return found.chosen(words.things(found.addresses)[1])


def blocks_in_use(words: Words, pools: Pools) -> Things:
    """Return the blocks in use of pools that have blocks of one size.

    A sound list of free blocks leads to as many blocks of the pool as are free, each once. A pool
    whose list is unsound is none, or was being changed: it gives no block.
    """
    heads, _ = words.things(pools.addresses)
    room = int(pools.used.sum())
    addresses, places = np.empty(room, np.uint64), np.empty(room, np.int64)
    columns = (heads.addresses, heads.places, pools.used, pools.carved, pools.free)
    size = int(pools.sizes[0])
    count = _blocks.used_blocks(heads.core, *columns, size, addresses, places)
    return Things(addresses[:count], places[:count], heads.core)


def _pools_in(run: Run) -> tuple[Addresses, Numbers, Numbers, Numbers, Addresses]:
    """Return what the headers say where they may be those of a pool."""
    first = -(-run.start // POOL_SIZE) * POOL_SIZE
    count = max(0, run.end - first) // POOL_SIZE
    head = run.part(first, first + count * POOL_SIZE).words.reshape(count, POOL_SIZE // 8)
    addresses = np.uint64(first) + np.arange(count, dtype=np.uint64) * np.uint64(POOL_SIZE)
    low = np.uint64(0xFFFFFFFF)
    used, free = head[:, 0], head[:, 1]
    class_of_size = head[:, 4] >> np.uint64(32)
    following, last = head[:, 5] & low, head[:, 5] >> np.uint64(32)
    size = (np.minimum(class_of_size, np.uint64(31)) + np.uint64(1)) * np.uint64(_STEP)
    carved = np.minimum(following - np.uint64(_HEAD), np.uint64(POOL_SIZE)) // size
    sound = (class_of_size < LARGEST_BLOCK // _STEP) & (used > 0) & (used <= carved)
    sound &= (last == POOL_SIZE - size) & (following >= _HEAD) & (following <= POOL_SIZE)
    sound &= (following - np.uint64(_HEAD)) % size == 0
    sound &= (free == 0) == (used == carved)
    columns = (size, used, carved)
    return (
        addresses[sound],
        *(column[sound].astype(np.int64) for column in columns),
        free[sound],
    )
