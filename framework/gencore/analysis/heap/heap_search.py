"""Finds the Python objects of a dumped process, one by one: in pools, and in chunks of malloc."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, Literal, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _graphs
from gencore.analysis.heap.chunks import (
    ChunkLayout,
    LargeObjects,
    find_large_objects,
    runs_outside,
)
from gencore.analysis.heap.mallocs import malloc_loaded
from gencore.analysis.heap.pools import LARGEST_BLOCK, Pools, blocks_in_use, find_pools
from gencore.analysis.heap.recognition import Recognition
from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import TypeTable, find_types, names_of
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Things, Words

__all__ = ["Allocator", "Found", "HeapObjects", "HeapSearch", "find_objects"]

Numbers = NDArray[np.int64]
_Number = TypeVar("_Number", np.int32, np.int64, np.uint64)
Allocator = Literal["pymalloc", "pymalloc, debugging", "malloc", "malloc, debugging", "unknown"]

_DEBUG_HEAD: Final = 16
"""Bytes that a debugging allocator puts in front of a block: its size, and a pattern."""
_DEBUG_TAIL: Final = 8
"""Bytes that it puts behind one, of the pattern too."""
_PATTERN: Final = np.uint64(0xFDFDFDFDFDFDFD)
_PIECE: Final = 1 << 16
"""Objects that are looked at together, so that they stay in the processor's cache."""
_FEWEST_LARGE, _FEWEST = 100, 5000
"""Objects that a Python has in chunks, beside pools and without, as soon as it has started."""


@attrs.frozen(eq=False)
class Found:
    """Objects that are found together."""

    things: Things
    rows: Numbers
    """Of their types."""
    sizes: Numbers | None = None
    """None if they were not needed yet."""


@attrs.frozen(eq=False)
class HeapObjects:
    """Every object that was found, and what is known of the types."""

    words: Words
    types: TypeTable
    names: list[str]
    """Of the types, qualified."""
    sizes_by_type: Sizes
    addresses: Addresses
    rows: NDArray[np.int32]
    """The row in `types` of each object's type."""
    known_sizes: Numbers | None

    @classmethod
    def of(cls, search: "HeapSearch", found: Iterable[Found]) -> "HeapObjects":
        """Return what a search has found."""
        room = int(search.pools.used.sum())
        addresses, rows = _Column(np.uint64, room), _Column(np.int32, room)
        sizes = _Column(np.int64, room)
        for part in found:
            addresses.append(part.things.addresses)
            rows.append(part.rows)
            if part.sizes is not None:
                sizes.append(part.sizes)
        types, names, known = search.types, search.names, sizes.whole()
        complete = len(known) == len(addresses.whole())
        return cls(
            search.words,
            types,
            names,
            search.sizes,
            addresses.whole(),
            rows.whole(),
            known if complete else None,
        )

    def things(self, which: NDArray[np.int64] | NDArray[np.int32]) -> Things:
        """Return some of them, by their numbers, to read what they have."""
        return self.words.things(self.addresses[which])[0]

    def sizes(self) -> Numbers:
        """Return the bytes of each, as ``sys.getsizeof`` has it."""
        if self.known_sizes is not None:
            return self.known_sizes
        sizes = np.empty(len(self.rows), np.int64)
        for row, numbers in self.by_type():
            sizes[numbers] = self.sizes_by_type.of(row, self.things(numbers))
        return sizes

    def by_type(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield each row that has objects, and the numbers of these."""
        borders, order = np.zeros(len(self.types) + 1, np.uint32), np.empty_like(self.rows)
        _graphs.count(self.rows, borders)
        np.cumsum(borders, dtype=np.uint32, out=borders)
        for first in reversed(range(0, len(self.rows), _PIECE)):
            rows = self.rows[first : first + _PIECE]
            numbers = np.arange(first, first + len(rows), dtype=np.int32)
            _graphs.distribute(rows, numbers, borders, order)
        for row in np.flatnonzero(np.diff(borders)):
            yield int(row), order[borders[row] : borders[row + 1]]


class _Column(Generic[_Number]):
    """An array to which more is appended, so large that a copy of it would be too much."""

    def __init__(self, kind: type[_Number], room: int) -> None:
        self._values: NDArray[_Number] = np.empty(room, kind)
        self._count = 0

    def append(self, values: NDArray[Any]) -> None:
        """Append values, of which there are seldom more than there is room for."""
        end = self._count + len(values)
        if end > len(self._values):
            self._values.resize(end, refcheck=False)
        self._values[self._count : end] = values
        self._count = end

    def whole(self) -> NDArray[_Number]:
        """Return all; nothing may be appended then."""
        values: NDArray[_Number] = self._values[: self._count]
        return values


def find_objects(python: Python) -> HeapObjects:
    """Return the objects of a dumped Python one by one: some 20 bytes of memory for each."""
    search = HeapSearch(python)
    return HeapObjects.of(search, search.found())


class HeapSearch:
    """Finds objects: first those in pools, then those outside of them."""

    def __init__(self, python: Python) -> None:
        self.other_malloc = malloc_loaded(python.memory)
        self.words = Words(python.memory)
        self.pools = find_pools(self.words)
        self.runs = list(runs_outside(self.words, self.pools))
        self.types = find_types(python, self.words, self.runs)
        self.names = names_of(python, self.types)
        self.sizes = Sizes(python, self.words, self.types, self.names)
        self._debugging = _is_debugging(self.words, self.pools)
        in_front = _DEBUG_HEAD if self._debugging else 0
        self._recognition = Recognition(python, self.words, self.types, in_front)

    def in_pools(self) -> Iterator[tuple[int, Things, Numbers, Numbers]]:
        """Yield the bytes of blocks in use, the objects in these, their rows, and their blocks."""
        for batch in self.pools.batches():
            blocks, size = blocks_in_use(self.words, batch), int(batch.sizes[0])
            things, rows = self._recognition.objects(blocks, size)
            yield size * len(blocks), things, rows, np.full(len(rows), size)

    def found(self) -> Iterator[Found]:
        """Yield all objects."""
        yield from (Found(things, rows) for _, things, rows, _ in self.in_pools())
        _, (things, rows, _) = self.outside()
        yield Found(things, rows)

    def objects_in(self, blocks: Addresses, size: int) -> Things:
        """Return the objects in some blocks of one size, wherever they begin in these."""
        return self._recognition.objects(self.words.things(blocks)[0], size)[0]

    def alive(self, addresses: Addresses) -> Addresses:
        """Return at which addresses objects are that have references."""
        things, _ = self.words.things(addresses)
        rows = self.types.find(things.word(8))
        known = rows >= 0
        things, rows = things.chosen(known), rows[known]
        return things.addresses[self._recognition.alive(things, rows)]

    def outside(self) -> tuple[Allocator, tuple[Things, Numbers, Numbers]]:
        """Return the allocator, of which the layout is that in which most objects are found."""
        tries = [(self._in_chunks(layout), layout) for layout in self._chunk_layouts()]
        large, layout = max(tries, key=lambda found: len(found[0].rows))
        things, _ = self.words.things(large.addresses)
        alive = self._recognition.alive(things, large.rows)
        if self._are_chance(int(alive.sum())):
            alive[:] = False
        found = things.chosen(alive), large.rows[alive], large.chunks[alive]
        allocator = _allocator(self.pools, large=bool(alive.any()), debugging=layout.in_front > 0)
        return allocator, found

    def _are_chance(self, count: int) -> bool:
        """Whether so few objects are in chunks that these only look like some."""
        if len(self.pools):
            return self.other_malloc is not None and count < _FEWEST_LARGE
        return count < _FEWEST

    def _in_chunks(self, layout: ChunkLayout) -> LargeObjects:
        return find_large_objects(self.words, self.types, self.sizes, self.runs, layout)

    def _chunk_layouts(self) -> list[ChunkLayout]:
        """Return what may be in chunks: of a debugging pymalloc, the malloc below debugs too."""
        if not len(self.pools):
            return [ChunkLayout(0), ChunkLayout(0, _DEBUG_HEAD, _DEBUG_TAIL)]
        if self._debugging:
            return [ChunkLayout(LARGEST_BLOCK, 2 * _DEBUG_HEAD, 2 * _DEBUG_TAIL)]
        return [ChunkLayout(LARGEST_BLOCK)]


def _allocator(pools: Pools, *, large: bool, debugging: bool) -> Allocator:
    if len(pools):
        return "pymalloc, debugging" if debugging else "pymalloc"
    if not large:
        return "unknown"
    return "malloc, debugging" if debugging else "malloc"


def _is_debugging(words: Words, pools: Pools) -> bool:
    """Whether most blocks of some pools have the pattern of ``PYTHONMALLOC=debug``."""
    for batch in pools.batches():
        blocks = blocks_in_use(words, batch)
        marks = blocks.word(8) >> np.uint64(8)
        return 2 * int((marks == _PATTERN).sum()) > len(blocks)
    return False
