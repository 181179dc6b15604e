"""Finds which object begins at an address, for millions of words at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.interpreter.words import Addresses

__all__ = ["ObjectIndex"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]
_Tables = tuple[Nodes, Nodes, Addresses, Nodes, Nodes]

_LOG2_PAGE, _LOG2_REGION = 14, 30
_GROUPS: Final = 16
"""In a page of 16 KiB: each has a bit for each of 64 places where an object may begin."""
_PAGES: Final = 1 << _LOG2_REGION - _LOG2_PAGE
"""In a region of 1 GiB."""
_REGIONS: Final = 1 << 17
"""That a process can have."""
_MOST_REGIONS: Final = 1 << 12
"""That are in the table, which has 256 KiB for each."""
_PIECE: Final = 1 << 16
"""Objects that are looked at together, so that they stay in the processor's cache."""


class ObjectIndex:
    """A bit for each place where an object may begin, and how many objects lie in front of it.

    For the pages with objects, of which it has a hundredth in size, and 4 bytes for each object.
    """

    def __init__(self, addresses: Addresses) -> None:
        """Index objects by their number in *addresses*."""
        used = _pages_of(addresses)
        region = np.minimum(used >> _LOG2_REGION - _LOG2_PAGE, _REGIONS - 1)
        directory = _numbered(region, _REGIONS)
        directory[directory > _MOST_REGIONS] = 0
        regions = int(directory.max(initial=0)) + 1
        pages = directory[region].astype(np.int64) * _PAGES | (used & (_PAGES - 1))
        table = _numbered(pages[pages >= _PAGES], regions * _PAGES)
        groups = (int(table.max(initial=0)) + 1) * _GROUPS
        bits, ranks = np.zeros(groups, np.uint64), np.empty(groups, np.int32)
        self.tables: _Tables = directory, table, bits, ranks, np.empty(len(addresses), np.int32)
        """What `gencore.analysis._blocks` looks up numbers in."""
        _blocks.index_objects(np.ascontiguousarray(addresses), *self.tables)

    def within(self, words: Addresses) -> tuple[Numbers, Nodes]:
        """Return which words are the addresses of objects, and the numbers of these."""
        places, numbers = np.empty(len(words), np.int64), np.empty(len(words), np.int32)
        count = _blocks.numbers_of(np.ascontiguousarray(words), *self.tables, places, numbers)
        return places[:count], numbers[:count].copy()


def _pages_of(addresses: Addresses) -> Numbers:
    """Return the numbers of the pages that addresses are in, each at least once."""
    found = [np.zeros(0, np.int64)]
    for first in range(0, len(addresses), _PIECE):
        pages = (addresses[first : first + _PIECE] >> np.uint64(_LOG2_PAGE)).view(np.int64)
        found.append(pages[np.flatnonzero(np.diff(pages, prepend=-1))])
    return np.concatenate(found)


def _numbered(used: Numbers, count: int) -> Nodes:
    """Return a table with a number from 1 on for each of the places used, 0 for the others."""
    table = np.zeros(count, np.bool_)
    table[used] = True
    return np.where(table, np.cumsum(table, dtype=np.int32), np.int32(0))
