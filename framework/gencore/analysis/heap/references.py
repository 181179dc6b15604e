"""Finds the references from objects of a dumped Python to others, by the layouts of types."""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.heap.heap_objects import HeapObjects
from gencore.analysis.heap.object_index import ObjectIndex
from gencore.analysis.heap.parts import Owned, Part, TypeLayouts, part_of_members
from gencore.analysis.interpreter.words import Addresses, Words

__all__ = ["Edges", "find_references", "references_in", "words_of"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]

_PIECE: Final = 1 << 16
"""Objects, or words, that are looked at together."""
_MOST_REFERENCES: Final = 2
"""That objects have on average, or nearly always: there is room for more then."""
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
    collecting = _Collecting(objects, index)
    for row, nodes in objects.by_type():
        owned = layouts.of(row)
        for first in range(0, len(nodes) if owned.has_references else 0, _PIECE):
            collecting.collect(owned, nodes[first : first + _PIECE])
    return collecting.edges()


class _Collecting:
    """Collects references where they stay: a copy of all of them would be too much."""

    def __init__(self, objects: HeapObjects, index: ObjectIndex) -> None:
        self._objects, self._index = objects, index
        self._left = objects.words.most_references
        """Words that are still read: each has one owner, unless the core is hostile."""
        room = _MOST_REFERENCES * len(objects.rows) + _PIECE
        self._sources, self._targets = np.empty(room, np.int32), np.empty(room, np.int32)
        self._count = 0

    def edges(self) -> Edges:
        """Return what was collected."""
        return Edges(self._sources[: self._count], self._targets[: self._count])

    def collect(self, owned: Owned, nodes: Nodes) -> None:
        """Collect the references of objects of one type."""
        things = self._objects.things(nodes)
        for offset in owned.members:
            self._collect_part(nodes, part_of_members(things, offset))
        for part in owned.parts(things):
            self._collect_part(nodes, part)

    def _collect_part(self, nodes: Nodes, part: Part) -> None:
        """Collect the references in a part: those in the core itself are found in C."""
        counts = np.minimum(part.counts, self._left)
        if counts.sum(dtype=np.float64) > self._left:
            self._collect_rows(nodes, part)
            return
        self._left -= int(counts.sum())
        tables = (*self._objects.words.tables, *self._index.tables)
        columns = nodes[part.owners], part.begins, counts
        layout = part.stride, part.width, int(~_TAGS) if part.way == "local" else 0
        row, word, rest = 0, 0, np.empty(len(counts), np.int64)
        while row < len(counts):
            row, word, count, others = _blocks.references(
                *tables, *columns, *layout, row, word, *self._room(1), rest
            )
            self._count += count
            if others:
                self._collect_rows(nodes, part.chosen(rest[:others]))

    def _collect_rows(self, nodes: Nodes, part: Part) -> None:
        """Collect the same, wherever the words are, as far as so many may be read."""
        for owners, places in words_of(part, self._left):
            self._left -= len(places)
            words = references_in(self._objects.words, part, places)
            which, found = self._index.within(words)
            sources, targets = self._room(len(found))
            sources[: len(found)], targets[: len(found)] = nodes[owners][which], found
            self._count += len(found)

    def _room(self, least: int) -> tuple[Nodes, Nodes]:
        """Return where the next references are put, for at least so many."""
        if len(self._sources) < self._count + least:
            for column in (self._sources, self._targets):
                column.resize(self._count + least + (self._count >> 2), refcheck=False)
        return self._sources[self._count :], self._targets[self._count :]


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
