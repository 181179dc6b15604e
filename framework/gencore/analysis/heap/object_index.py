"""Finds which object begins at an address, for millions of words at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.interpreter.words import Addresses

__all__ = ["ObjectIndex"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]

_LOG2_SLOT, _LOG2_PAGE, _LOG2_REGION = 4, 14, 30
_SLOTS: Final = 1 << _LOG2_PAGE - _LOG2_SLOT
"""In a page of 16 KiB."""
_PAGES: Final = 1 << _LOG2_REGION - _LOG2_PAGE
"""In a region of 1 GiB."""
_REGIONS: Final = 1 << 17
"""That a process can have."""
_MOST_REGIONS: Final = 1 << 12
"""That are in the table, which has 256 KiB for each."""


class ObjectIndex:
    """Three tables, of which the last has a number for each place where an object may begin.

    They need a quarter of the memory of the pages in which objects are.
    """

    def __init__(self, addresses: Addresses) -> None:
        """Index objects by their number in *addresses*."""
        self._directory = _numbered(addresses >> np.uint64(_LOG2_REGION), _REGIONS)
        self._directory[self._directory > _MOST_REGIONS] = 0
        regions = int(self._directory.max(initial=0)) + 1
        self._pages = np.zeros(0, np.int32)
        self._pages = _numbered(self._page_slots(addresses), regions * _PAGES)
        self._pages[:_PAGES] = 0
        pages = int(self._pages.max(initial=0)) + 1
        self._slots = np.full(pages * _SLOTS, -1, np.int32)
        self._slots[self._slots_of(addresses)] = np.arange(len(addresses), dtype=np.int32)
        self._slots[:_SLOTS] = -1

    def within(self, words: Addresses) -> tuple[Numbers, Nodes]:
        """Return which words are the addresses of objects, and the numbers of these."""
        places, numbers = np.empty(len(words), np.int64), np.empty(len(words), np.int32)
        tables = (self._directory, self._pages, self._slots)
        count = _blocks.numbers_of(np.ascontiguousarray(words), *tables, places, numbers)
        return places[:count], numbers[:count].copy()

    def _page_slots(self, addresses: Addresses) -> Numbers:
        region = np.minimum(addresses >> np.uint64(_LOG2_REGION), np.uint64(_REGIONS - 1))
        page = (addresses >> np.uint64(_LOG2_PAGE)).view(np.int64) & (_PAGES - 1)
        found: Numbers = self._directory.take(region.view(np.int64)).astype(np.int64) * _PAGES
        return found + page

    def _slots_of(self, addresses: Addresses) -> Numbers:
        page = self._pages.take(self._page_slots(addresses)).astype(np.int64)
        slot = (addresses >> np.uint64(_LOG2_SLOT)).view(np.int64) & (_SLOTS - 1)
        return (page * _SLOTS) | slot


def _numbered(used: Addresses | Numbers, count: int) -> Nodes:
    """Return a table with a number from 1 on for each of the places used, 0 for the others."""
    table = np.zeros(count, np.bool_)
    table[np.minimum(used, used.dtype.type(count - 1)).astype(np.int64)] = True
    return np.where(table, np.cumsum(table, dtype=np.int32), np.int32(0))
