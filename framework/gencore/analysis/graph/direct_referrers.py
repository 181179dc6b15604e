"""Finds what refers to one object, without a graph of all: by scans of the memory for addresses.

The first one finds the words that are the object's address. They lie in objects, or in buffers;
the second one finds what points into these buffers. Whether an object that was found so owns one
of the words is then decided by the layout of its type.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gencore.analysis.graph.interned import are_interned
from gencore.analysis.graph.links import Links
from gencore.analysis.heap.heap_search import HeapSearch
from gencore.analysis.heap.parts import Part, TypeLayouts
from gencore.analysis.heap.pools import blocks_in_use
from gencore.analysis.heap.type_objects import bases_of
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Mask, Things, Words

__all__ = ["DirectReferrers"]

Numbers = NDArray[np.int64]
Range = tuple[int, int]

_PIECE: Final = 1 << 16
"""Words that are compared at a time, so that they stay in the processor's cache."""
_REACH: Final = 1 << 27
"""Bytes in front of a word outside of the pools in which the buffer that has it may begin."""
_MOST_WORDS: Final = 1 << 40
_WORD, _TYPE_AT = 8, 8
_CHAINED: Final = "collections.deque"
"""The type whose buffers lead to each other: only the first is found by what points to it."""


class DirectReferrers:
    """What refers to single objects of a dumped Python whose small objects are in pools."""

    def __init__(self, search: HeapSearch, python: Python, *, shows_keys: bool = False) -> None:
        """Take over what is known of pools and types."""
        self._search, self._words = search, search.words
        self._layouts = TypeLayouts(python, search.words, search.types, search.names)
        self.links = Links(python, self._layouts, shows_keys=shows_keys)

    def find(self, target: int) -> list[int]:
        """Return the addresses of the objects that refer to one, in order."""
        places = _places(self._words, [(target, target + 1)])
        found, left = self._owning(self._around(places), target, places)
        for pointers in (self._pointers_to_buffers, self._pointers_to_chains):
            if len(left):
                more, left = self._owning(pointers(left), target, left)
                found = np.union1d(found, more)
        return [int(address) for address in found[self._count(found)]]

    def _count(self, found: Addresses) -> Mask:
        """Return which objects are in blocks in use, and keep alive what they refer to."""
        pools, (things, _) = self._search.pools, self._words.things(found)
        within = np.flatnonzero(pools.have(found))
        counting = ~are_interned(self._layouts, things)
        rows = np.searchsorted(pools.addresses, found[within], "right") - 1
        for row in np.flatnonzero(np.bincount(rows, minlength=1)):
            used = blocks_in_use(self._words, pools.chosen(np.array([row]))).addresses
            here = within[rows == row]
            counting[here] &= np.isin(pools.block_at(np.full(len(here), row), found[here]), used)
        return counting

    def _pointers_to_buffers(self, places: Addresses) -> Addresses:
        """Return the objects that point in front of words, and what they point to itself."""
        pointers = _places(self._words, self._ranges(places))
        pointed_to = self._words.at(pointers)[0]
        pointers = pointers[self._search.types.find(pointed_to) < 0]  # a type has no buffer there
        large = self._search.alive(_distinct(pointed_to[~self._search.pools.have(pointed_to)]))
        return _distinct(np.concatenate([self._around(pointers), large]))

    def _pointers_to_chains(self, _: Addresses) -> Addresses:
        types, names = self._search.types, self._search.names
        rows = [
            row
            for row in range(len(types))
            if any(names[base] == _CHAINED for base in bases_of(types, row))
        ]
        ranges = [(address, address + 1) for address in sorted(map(int, types.addresses[rows]))]
        return self._around(_places(self._words, ranges))

    def _around(self, places: Addresses) -> Addresses:
        """Return the objects in the blocks of pools that words lie in."""
        blocks, sizes = self._blocks(places[self._search.pools.have(places)])
        found = [np.zeros(0, np.uint64)]
        for size in np.flatnonzero(np.bincount(sizes)):
            of_size = _distinct(blocks[sizes == size])
            found.append(self._search.objects_in(of_size, int(size)).addresses)
        return np.concatenate(found)

    def _blocks(self, places: Addresses) -> tuple[Addresses, Numbers]:
        """Return where the blocks of pools begin that words lie in, and their sizes."""
        pools = self._search.pools
        row = np.searchsorted(pools.addresses, places, "right") - 1
        return pools.block_at(row, places), pools.sizes[row]

    def _ranges(self, places: Addresses) -> list[Range]:
        """Return where a buffer may begin that has one of some words."""
        in_pools = self._search.pools.have(places)
        blocks, sizes = self._blocks(places[in_pools])
        ranges = {(int(b), int(b) + int(size)) for b, size in zip(blocks, sizes, strict=True)}
        for place in map(int, places[~in_pools]):
            runs = (run for run in self._search.runs if run.path is None)
            starts = (run.start for run in runs if run.start <= place < run.end)
            ranges |= {(max(start, place - _REACH), place + 1) for start in starts}
        return _merged(ranges)

    def _owning(
        self, candidates: Addresses, target: int, places: Addresses
    ) -> tuple[Addresses, Addresses]:
        """Return the objects that own one of some words, and the words that none of them owns."""
        things, _ = self._words.things(candidates)
        rows = self._search.types.find(things.word(8))
        found = [np.zeros(0, np.uint64)]
        owned = _are_among(places, things.addresses + np.uint64(_TYPE_AT))  # of no interest
        for row in np.flatnonzero(np.bincount(rows[rows >= 0])):
            of_type = things.chosen(rows == row)
            owns = self._own(int(row), of_type, target, places, owned)
            found.append(of_type.addresses[owns])
        return _distinct(np.concatenate(found)), places[~owned]

    def _own(self, row: int, things: Things, target: int, places: Addresses, owned: Mask) -> Mask:
        """Return which objects of a type own one of some words; mark those that are owned."""
        layout, owns = self._layouts.of(row), np.zeros(len(things), np.bool_)
        for offset in layout.members:
            here = things.word(offset) == target
            owns |= here
            at = things.addresses[here] + np.int64(offset).view(np.uint64)
            owned |= _are_among(places, at)
        for part in layout.parts(things):
            for owner, which in _places_in(part, places):
                owns[owner] = True
                owned[which] = True
        return owns


def _places_in(part: Part, places: Addresses) -> Iterator[tuple[int, Numbers]]:
    """Yield the owners that have some of the words, in order of address, in a part, and which."""
    entries = np.clip(-(-part.counts // part.width) * part.stride, 0, _MOST_WORDS)
    ends = part.begins + (entries * _WORD).view(np.uint64)
    first, last = (np.searchsorted(places, edge) for edge in (part.begins, ends))
    for row in np.flatnonzero(last > first):
        which = np.arange(first[row], last[row])
        position = (places[which] - part.begins[row]).view(np.int64) // _WORD % part.stride
        if len(which := which[position < part.width]):
            yield int(part.owners[row]), which


def _places(words: Words, ranges: list[Range]) -> Addresses:
    """Return the addresses of the words whose values lie in ranges, in order."""
    found = [np.zeros(0, np.uint64)]
    for run in words.writable():
        for first in range(0, len(run.words), _PIECE):
            piece = run.words[first : first + _PIECE]
            hits = _within(piece, ranges).astype(np.uint64)
            if len(hits):
                found.append(np.uint64(run.start + first * 8) + hits * np.uint64(8))
    return np.concatenate(found)


def _within(words: Addresses, ranges: list[Range]) -> Numbers:
    """Return which words lie in ranges, which are in order and do not overlap."""
    starts, ends = np.array(ranges, np.uint64).reshape(-1, 2).T
    if not len(starts):
        return np.zeros(0, np.int64)
    likely = np.flatnonzero(words - starts[0] < ends[-1] - starts[0])
    if len(starts) == 1:
        return likely
    chosen = words[likely]
    return likely[chosen < ends[np.searchsorted(starts, chosen, "right") - 1]]


def _merged(ranges: set[Range]) -> list[Range]:
    """Return ranges in order, without overlaps."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _are_among(places: Addresses, addresses: Addresses) -> Mask:
    """Return which places, in order, are among some addresses."""
    found = np.zeros(len(places), np.bool_)
    row = np.searchsorted(places, addresses)
    within = row < len(places)
    row, addresses = row[within], addresses[within]
    found[row[places[row] == addresses]] = True
    return found


def _distinct(addresses: Addresses) -> Addresses:
    """Return addresses in order, each once: faster than by hashes, as numpy does."""
    ordered = np.sort(addresses)
    return (
        ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
    )
