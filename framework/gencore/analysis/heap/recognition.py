"""Decides which blocks of memory are objects of a dumped Python, and which of these are alive.

Objects are recognised by their type, of which each has its own number of bytes in front of an
object. Memory that once was an object, and now is something else, may look like one: an object
that is alive has references, and is in the collector's list if its type is one that the collector
looks at.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.heap.type_objects import TypeTable
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Mask, Things, Words

__all__ = ["Recognition"]

Numbers = NDArray[np.int64]
Rows = NDArray[np.int32]

_HEAD: Final = 16
"""Bytes of the collector's header, in front of an object."""
_LINK_FLAGS: Final = np.uint64(7)
_COLLECTING: Final = np.uint64(2)
_ALL: Final = (1 << 64) - 1
_BITS: Final = {
    11: (_ALL, _ALL ^ (1 << 40) - 1),
    12: (_ALL, _ALL ^ (1 << 34) - 1),
    13: (_ALL, _ALL ^ (1 << 34) - 1),
}
"""Bits of an object's first word by the minor version: if it is alive, some of the first and none
of the second are set. It is the number of references, which no program has so many of."""
_LATER_BITS: Final = (0xFFFFFFFF, 0xFFFF00000000)
"""The number is the lower half, and the next quarter is not used; a free object may have a pointer
there."""


class Recognition:
    """Looks at blocks of a heap, *in_front* bytes of which are an allocator's."""

    def __init__(self, python: Python, words: Words, types: TypeTable, in_front: int) -> None:
        self._words, self._types, self._in_front = words, types, in_front
        self._some, self._none = _BITS.get(python.minor, _LATER_BITS)
        smallest = types.basic_sizes.copy()
        smallest[types.are_texts] = python.layout.ascii_head
        self._smallest = smallest
        self._listed = types.has_gc

    def objects(self, blocks: Things, size: int) -> tuple[Things, Numbers]:
        """Return the objects in some blocks of one size, and the rows of their types."""
        addresses = np.empty(len(blocks), np.uint64)
        places, rows, rest = np.empty((3, len(blocks)), np.int64)
        count, others = _blocks.objects_in_blocks(
            *self._words.tables,
            blocks.addresses,
            blocks.places,
            self._types.slots,
            self._types.addresses,
            self._types.preheaders,
            self._smallest,
            self._listed,
            self._some,
            self._none,
            self._in_front,
            size - self._in_front,
            addresses,
            places,
            rows,
            rest,
        )
        things, rows = Things(addresses[:count], places[:count], blocks.core), rows[:count]
        return self._linked(things, rows, rest[:others]) if others else (things, rows)

    def _linked(self, things: Things, rows: Numbers, rest: Numbers) -> tuple[Things, Numbers]:
        """Return objects without those of the rest whose list does not lead back."""
        linked = np.ones(len(rows), np.bool_)
        linked[rest] = self._are_linked(things.chosen(rest), rows[rest])
        return things.chosen(linked), rows[linked]

    def alive(self, things: Things, rows: Numbers | Rows) -> Mask:
        """Return which objects have references, and are in the collector's list if in any."""
        count = things.word()
        some, none = np.uint64(self._some), np.uint64(self._none)
        referred: Mask = (count & some != 0) & (count & none == 0)
        return referred & self._are_linked(things, rows)

    def listed(self, things: Things, rows: Numbers | Rows) -> Mask:
        """Return which objects are in the collector's list, and not only may be."""
        listed = self._listed[rows]
        heads = things.chosen(listed).moved(-_HEAD)
        listed[listed] = (heads.word() != 0) & self._leads_back(heads)
        return listed

    def _leads_back(self, heads: Things) -> Mask:
        """Return from which headers of the collector the next one of the list leads back."""
        back = self._words.at((heads.word() & ~_LINK_FLAGS) + np.uint64(8))[0]
        leads_back: Mask = back & ~_LINK_FLAGS == heads.addresses
        return leads_back

    def _are_linked(self, things: Things, rows: Numbers | Rows) -> Mask:
        """Return false where the next object of the list does not lead back.

        While a collection goes on the list is another one.
        """
        linked = np.ones(len(things), np.bool_)
        listed = np.flatnonzero(self._listed[rows])
        heads = things.chosen(listed).moved(-_HEAD)
        linked[listed] = (heads.word() == 0) | self._leads_back(heads)
        linked[listed] |= heads.word(8) & _COLLECTING != 0
        return linked
