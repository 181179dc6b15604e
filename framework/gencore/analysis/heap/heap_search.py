"""Finds the Python objects of a dumped process, one by one: in pools, and in memory of malloc."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.arenas import zeroed_pools
from gencore.analysis.heap.chunks import (
    ChunkLayout,
    LargeObjects,
    find_large_objects,
    runs_outside,
)
from gencore.analysis.heap.heap_objects import Found, HeapObjects
from gencore.analysis.heap.mallocs import malloc_loaded
from gencore.analysis.heap.pools import LARGEST_BLOCK, Pools, blocks_in_use, find_pools
from gencore.analysis.heap.recognition import Recognition
from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import find_types, names_of
from gencore.analysis.heap.unknown_malloc import Allocated, UnknownMalloc
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Things, Words

__all__ = ["Allocator", "HeapSearch", "Outside", "find_objects"]

Numbers = NDArray[np.int64]
_UNKNOWN: Final = "unknown"
Allocator = Literal["pymalloc", "pymalloc, debugging", "malloc", "malloc, debugging", "unknown"]

_UNSUPPORTED: Final = (
    "the memory allocator is unsupported: neither pools nor other objects were found"
)
_DEBUG_HEAD: Final = 16
"""Bytes that a debugging allocator puts in front of a block: its size, and a pattern."""
_DEBUG_TAIL: Final = 8
"""Bytes that it puts behind one, of the pattern too."""
_PATTERN: Final = np.uint64(0xFDFDFDFDFDFDFD)
_FEWEST_LARGE, _FEWEST = 100, 5000
"""Objects that a Python has in chunks, beside pools and without, as soon as it has started."""


@attrs.frozen(kw_only=True, eq=False)
class Outside:
    """The objects that are in no pool."""

    allocator: Allocator
    other_malloc: str | None
    """The malloc that has them, if its layout is unknown: its name, or ``unknown``."""
    found: Allocated
    """With the bytes of their chunks; of a malloc whose layout is unknown, their own."""


def find_objects(python: Python) -> HeapObjects:
    """Return the objects of a dumped Python one by one: some 20 bytes of memory for each."""
    search = HeapSearch(python)
    return search.together(search.found())


class HeapSearch:
    """Finds objects: first those in pools, then those outside of them."""

    def __init__(self, python: Python) -> None:
        self._python = python
        self._loaded = malloc_loaded(python.memory)
        self.words = Words(python.memory)
        self.pools = find_pools(self.words)
        self.runs = list(runs_outside(self.words, self.pools))
        self.types = find_types(python, self.words, self.runs)
        self.names = names_of(python, self.types)
        self.sizes = Sizes(python, self.words, self.types, self.names)
        self._debugging = _is_debugging(self.words, self.pools)
        in_front = _DEBUG_HEAD if self._debugging else 0
        self._recognition = Recognition(python, self.words, self.types, in_front)

    def in_pools(self) -> Iterator[tuple[int, int, Things, Numbers]]:
        """Yield the size of blocks, how many are in use, the objects in these, and their rows."""
        for batch in self.pools.batches():
            blocks, size = blocks_in_use(self.words, batch), int(batch.sizes[0])
            yield size, len(blocks), *self._recognition.objects(blocks, size)

    def found(self) -> Iterator[Found]:
        """Yield all objects."""
        yield from self._found_in_pools()
        outside = self.outside.found
        yield Found(outside.things, outside.rows)

    def _found_in_pools(self) -> Iterator[Found]:
        return (Found(things, rows) for _, _, things, rows in self.in_pools())

    def together(self, found: Iterable[Found]) -> HeapObjects:
        """Return what was found at a time, all together."""
        room = int(self.pools.used.sum())
        return HeapObjects.of(found, room, self.words, self.types, self.names, self.sizes)

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

    @cached_property
    def outside(self) -> Outside:
        """The objects in chunks, whose layout is that in which most are found.

        If they are so few that they only look like some, it is another malloc that has them.
        """
        if self._are_enough(self._in_chunks):
            return self._in_chunks
        without_layout = self._in_unknown_memory()
        if len(self.pools) and not self._loaded and not self._are_enough(without_layout):
            return self._in_chunks
        return without_layout

    @property
    def other_malloc(self) -> str | None:
        """As of `outside`, of which most is not needed if a library says which malloc it is."""
        loaded = None if self._are_enough(self._in_chunks) else self._loaded
        return loaded or self.outside.other_malloc

    @property
    def incomplete(self) -> str | None:
        """Why objects are missing, if some are."""
        if not len(self.pools) and self.outside.allocator == _UNKNOWN:
            return _UNSUPPORTED
        return zeroed_pools(self.words, self.pools)

    def _are_enough(self, outside: Outside) -> bool:
        return len(outside.found.rows) >= (_FEWEST_LARGE if len(self.pools) else _FEWEST)

    @cached_property
    def _in_chunks(self) -> Outside:
        tries = [(self._in_chunks_of(layout), layout) for layout in self._chunk_layouts()]
        large, layout = max(tries, key=lambda found: len(found[0].rows))
        things, _ = self.words.things(large.addresses)
        found = Allocated(things, large.rows, large.chunks)
        found = found.chosen(self._recognition.alive(things, large.rows))
        allocator = self._allocator(found, debugging=layout.in_front > 0)
        return Outside(allocator=allocator, other_malloc=None, found=found)

    def _in_unknown_memory(self) -> Outside:
        pools = self.pools
        in_pools = self.together(self._found_in_pools())
        search = UnknownMalloc(self._python, in_pools, pools, self._recognition)
        around = _DEBUG_HEAD + _DEBUG_TAIL if self._debugging else 0
        found = search.find(self.runs, LARGEST_BLOCK - around if len(pools) else 0)
        allocator = self._allocator(found, debugging=self._debugging or self._are_marked(found))
        name = self._loaded or _UNKNOWN
        return Outside(allocator=allocator, other_malloc=name, found=found)

    def _are_marked(self, found: Allocated) -> bool:
        """Whether most objects have the pattern of ``PYTHONMALLOC=malloc_debug`` in front."""
        fronts = found.things.moved(-self.types.preheaders[found.rows] - _DEBUG_HEAD)
        return len(fronts) > 0 and _have_pattern(fronts)

    def _allocator(self, found: Allocated, *, debugging: bool) -> Allocator:
        if len(self.pools):
            return "pymalloc, debugging" if debugging else "pymalloc"
        if not len(found.rows):
            return "unknown"
        return "malloc, debugging" if debugging else "malloc"

    def _in_chunks_of(self, layout: ChunkLayout) -> LargeObjects:
        return find_large_objects(self.words, self.types, self.sizes, self.runs, layout)

    def _chunk_layouts(self) -> list[ChunkLayout]:
        """Return what may be in chunks: of a debugging pymalloc, the malloc below debugs too."""
        if not len(self.pools):
            return [ChunkLayout(0), ChunkLayout(0, _DEBUG_HEAD, _DEBUG_TAIL)]
        if self._debugging:
            return [ChunkLayout(LARGEST_BLOCK, 2 * _DEBUG_HEAD, 2 * _DEBUG_TAIL)]
        return [ChunkLayout(LARGEST_BLOCK)]


def _is_debugging(words: Words, pools: Pools) -> bool:
    """Whether most blocks of some pools have the pattern of ``PYTHONMALLOC=debug``."""
    for batch in pools.batches():
        blocks = blocks_in_use(words, batch)
        return _have_pattern(blocks)
    return False


def _have_pattern(blocks: Things) -> bool:
    marks = blocks.word(8) >> np.uint64(8)
    return 2 * int((marks == _PATTERN).sum()) > len(blocks)
