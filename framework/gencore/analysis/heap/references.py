"""Finds the references from objects of a dumped Python to others, by the layouts of types."""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.heap_objects import HeapObjects
from gencore.analysis.heap.object_index import ObjectIndex
from gencore.analysis.heap.parts import Part, TypeLayouts
from gencore.analysis.interpreter.words import Addresses, Words

__all__ = ["Edges", "find_references", "references_in", "words_of"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]

_PIECE: Final = 1 << 18
"""Objects, or words, that are looked at together."""
_TAGS: Final = np.uint64(~7 & 0xFFFFFFFFFFFFFFFF)
"""Frames have tags in the lowest bits of references, since 3.14."""


@attrs.frozen(eq=False)
class Edges:
    """References, in any order: from the objects `sources` to the objects `targets`."""

    sources: Nodes
    targets: Nodes


def find_references(objects: HeapObjects, index: ObjectIndex, layouts: TypeLayouts) -> Edges:
    """Return every reference from one object to another, as often as there is one.

    References to the type of an object are left out.
    """
    found = list(_Collecting(objects, index).edges(layouts))
    return Edges(
        np.concatenate([sources for sources, _ in found] or [np.zeros(0, np.int32)]),
        np.concatenate([targets for _, targets in found] or [np.zeros(0, np.int32)]),
    )


class _Collecting:
    def __init__(self, objects: HeapObjects, index: ObjectIndex) -> None:
        self._objects, self._index = objects, index
        self._left = objects.words.size // 4
        """Words that are still read: each has one owner, unless the core is hostile."""

    def edges(self, layouts: TypeLayouts) -> Iterator[tuple[Nodes, Nodes]]:
        for row, nodes in self._objects.by_type():
            owned = layouts.of(row)
            for first in range(0, len(nodes), _PIECE):
                piece = nodes[first : first + _PIECE]
                things = self._objects.things.chosen(piece)
                for member in owned.members:
                    yield self._edges(piece, things.word(member))
                for part in owned.parts(things):
                    yield from self._of_part(piece, part)

    def _of_part(self, nodes: Nodes, part: Part) -> Iterator[tuple[Nodes, Nodes]]:
        for owners, places in words_of(part, self._left):
            self._left -= len(places)
            yield self._edges(nodes[owners], references_in(self._objects.words, part, places))

    def _edges(self, nodes: Nodes, words: Addresses) -> tuple[Nodes, Nodes]:
        places, targets = self._index.within(words)
        return nodes[places], targets


def references_in(words: Words, part: Part, places: Addresses) -> Addresses:
    """Return the words of a part at some addresses, without the tags that those of frames have."""
    found, _ = words.at(places)
    return found & _TAGS if part.way == "local" else found


def words_of(part: Part, most: int) -> Iterator[tuple[Numbers, Addresses]]:
    """Yield the owners of words and their addresses, at most *most*, in pieces."""
    counts = np.minimum(part.counts, most)
    ends = np.minimum(np.cumsum(counts.astype(np.float64)), most).astype(np.int64)
    begins = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    total = int(ends[-1]) if len(ends) else 0
    for first in range(0, total, _PIECE):
        last = min(first + _PIECE, total)
        low = int(np.searchsorted(ends, first, "right"))
        high = int(np.searchsorted(ends, last, "left")) + 1
        here = np.minimum(ends[low:high], last) - np.maximum(begins[low:high], first)
        rows = np.repeat(np.arange(low, high), here)
        yield part.owners[rows], part.places(rows, np.arange(first, last) - begins[rows])
