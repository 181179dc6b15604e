"""Counts the Python objects of a dumped process by type: number, size, and where they lie.

Blocks in use of CPython's pools, and chunks of malloc, are objects if they begin as those of a
type that the process has; of another malloc, what something refers to. All other memory is
counted as what it is. Nothing but the memory is needed: neither symbols nor the collector's
lists, which lack half of the objects.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore._runtime.other_thread import ahead
from gencore.analysis.heap.heap_objects import Found, HeapObjects, of_each_type
from gencore.analysis.heap.heap_search import Allocator, HeapSearch
from gencore.analysis.heap.pools import POOL_SIZE, Pools
from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import TypeTable
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Run, Things

__all__ = [
    "Census",
    "LargestObject",
    "MemoryUse",
    "TypeCount",
    "find_counted",
    "take_census",
]

Numbers = NDArray[np.int64]

_VARYING: Final = -1
"""The size of each object of a type, if they differ."""


@attrs.frozen
class TypeCount:
    """The objects of one type. A name may stand for several types: `address` tells them apart."""

    name: str
    """Qualified, with the module unless that is ``builtins``."""
    address: int
    count: int
    size: int
    """Bytes, as ``sys.getsizeof`` has it of each object alone: buffers of its own included."""
    allocated: int
    """Bytes of the blocks and chunks that have the objects themselves, rounded up as they are."""


@attrs.frozen
class LargestObject:
    """One of the objects with the largest size."""

    type_name: str
    address: int
    size: int


@attrs.frozen(kw_only=True)
class MemoryUse:
    """What the writable memory in the core is for, in bytes: these add up to all of it."""

    objects_in_pools: int
    """Blocks in use that are objects."""
    raw_in_pools: int
    """Other blocks in use: items of lists, tables of dictionaries, memory of extensions."""
    free_in_pools: int
    """Free blocks, and what no block can use; pools that are empty are in `other`."""
    large_objects: int
    """Chunks of malloc that are objects."""
    other: int
    """Other anonymous memory: buffers of objects, what is not Python's, stacks, free memory."""
    files: int
    """Data of executable and libraries, and files that were mapped to be written."""


@attrs.frozen(kw_only=True)
class Census:
    """What was counted."""

    allocator: Allocator
    """Of small objects. ``unknown``: neither pools nor other memory with objects was found."""
    other_malloc: str | None
    """Which malloc large objects are from, if its layout is unknown, such as ``jemalloc``.

    They were found without it, and of `TypeCount.allocated` what it adds is missing.
    """
    types: tuple[TypeCount, ...]
    """Largest size first."""
    largest: tuple[LargestObject, ...]
    memory: MemoryUse
    pools: int
    incomplete: str | None
    """Why objects are missing, if some are."""


def take_census(python: Python, *, top: int = 10) -> Census:
    """Count the objects of a dumped Python, and name the *top* largest ones."""
    counting = _Counting(HeapSearch(python), top)
    deque(counting.found(), maxlen=0)
    return counting.census()


def find_counted(python: Python, *, top: int) -> tuple[Census, HeapObjects]:
    """Count the same, and return each object too."""
    search = HeapSearch(python)
    counting = _Counting(search, top)
    objects = search.together(counting.found())
    return counting.census(), objects


class _Counting:
    """Counts the objects of a search while they are found."""

    def __init__(self, search: HeapSearch, top: int) -> None:
        """Name the *top* largest of them."""
        self._search = search
        self._tally = _Tally(search.sizes, search.types, search.names, top)
        self._used = self._in_pools = 0

    def found(self) -> Iterator[Found]:
        """Yield what `HeapSearch.found` does, with sizes; each object is counted."""
        for size, blocks, things, rows in ahead(self._search.in_pools(), "gencore-ahead"):
            self._used += size * blocks
            yield Found(things, rows, self._tally.add(things, rows, size))
        self._in_pools = self._tally.allocated_bytes
        found = self._search.outside.found
        sizes = self._tally.add(found.things, found.rows, found.sizes)
        yield Found(found.things, found.rows, sizes)

    def census(self) -> Census:
        """Return what was counted, when all was found."""
        search, in_all = self._search, self._tally.allocated_bytes
        return Census(
            allocator=search.outside.allocator,
            other_malloc=search.outside.other_malloc,
            types=self._tally.counts(),
            largest=self._tally.largest(),
            memory=_memory_use(search.pools, search.runs, self._used, self._in_pools, in_all),
            pools=len(search.pools),
            incomplete=search.incomplete,
        )


def _memory_use(pools: Pools, runs: list[Run], used: int, in_pools: int, in_all: int) -> MemoryUse:
    outside = sum(run.end - run.start for run in runs if run.path is None)
    return MemoryUse(
        objects_in_pools=in_pools,
        raw_in_pools=used - in_pools,
        free_in_pools=len(pools) * POOL_SIZE - used,
        large_objects=in_all - in_pools,
        other=outside - (in_all - in_pools),
        files=sum(run.end - run.start for run in runs if run.path is not None),
    )


class _Tally:
    """Adds up objects by type."""

    def __init__(self, sizes: Sizes, types: TypeTable, names: list[str], top: int) -> None:
        self._sizes, self._types, self._names, self._top = sizes, types, names, top
        self._counts, self._bytes, self._allocated = np.zeros((3, len(types)), np.int64)
        self._largest: list[tuple[int, int, int]] = []

    @property
    def allocated_bytes(self) -> int:
        """Bytes of all blocks and chunks so far."""
        return int(self._allocated.sum())

    def add(self, things: Things, rows: Numbers, allocated: Numbers | int) -> Numbers:
        """Count objects of the types in some rows; return their sizes.

        *allocated* is the bytes of the block of each, or of every one.
        """
        counts = np.bincount(rows, minlength=len(self._types))
        self._counts += counts
        if isinstance(allocated, int):
            self._allocated += counts * allocated
        else:
            self._allocated += np.bincount(rows, allocated, len(counts)).astype(np.int64)
        each = np.full(len(counts), _VARYING)
        for row in map(int, np.flatnonzero(counts)):
            size = self._sizes.of_each(row)
            if size is None:
                continue
            each[row] = size
            self._bytes[row] += int(counts[row]) * size
            if size > self._least_of_largest():
                of_type = things.addresses[np.flatnonzero(rows == row)[: self._top]]
                self._note_largest(row, of_type, np.full(len(of_type), size))
        sizes = each[rows]
        varying = np.flatnonzero(sizes == _VARYING)
        sizes[varying] = self._add_varying(things.chosen(varying), rows[varying])
        return sizes

    def _add_varying(self, things: Things, rows: Numbers) -> Numbers:
        """Add the sizes of objects that are not the same for all of a type; return them."""
        found = np.empty(len(rows), np.int64)
        for row, chosen in of_each_type(rows, len(self._types)):
            sizes = found[chosen] = self._sizes.of(row, things.chosen(chosen))
            self._bytes[row] += int(sizes.sum())
            if sizes.max() > self._least_of_largest():
                self._note_largest(row, things.addresses[chosen], sizes)
        return found

    def _least_of_largest(self) -> int:
        return self._largest[-1][0] if len(self._largest) == self._top else -1

    def _note_largest(self, row: int, things: Addresses, sizes: Numbers) -> None:
        for index in np.argsort(sizes)[-self._top :]:
            self._largest.append((int(sizes[index]), int(things[index]), row))
        self._largest = sorted(self._largest, reverse=True)[: self._top]

    def counts(self) -> tuple[TypeCount, ...]:
        """Return the types of which there are objects."""
        rows = sorted(np.flatnonzero(self._counts), key=lambda row: -self._bytes[row])
        return tuple(
            TypeCount(
                self._names[row],
                int(self._types.addresses[row]),
                int(self._counts[row]),
                int(self._bytes[row]),
                int(self._allocated[row]),
            )
            for row in rows
        )

    def largest(self) -> tuple[LargestObject, ...]:
        """Return the largest objects."""
        return tuple(
            LargestObject(self._names[row], address, size) for size, address, row in self._largest
        )
