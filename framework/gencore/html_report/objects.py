"""Prepares the Python objects of an overview: types as a treemap, and what the memory is for."""

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from gencore._overview.overview import Heap, TypeRow
from gencore.html_report.memory_map import Entry, Kind, MemoryMap

__all__ = ["Use", "map_of", "uses_of"]

_USES: Final = {
    "objects_in_pools": "objects of at most 512 bytes",
    "raw_in_pools": "small buffers of objects, and what extensions have allocated through Python",
    "free_in_pools": "free blocks in pools that still have objects",
    "large_objects": "larger objects",
    "other": "large buffers of objects, memory that is not Python's, stacks, free memory",
    "files": "writable data of the executable and of libraries",
}


@attrs.frozen
class Use:
    """What a part of the writable memory is for."""

    name: str
    size: int
    start: float
    """Where it begins in all of it, as a share of 1."""
    share: float


def map_of(heap: Heap) -> MemoryMap:
    """Return what the treemap draws: the types, those with a module apart from the others."""
    groups: Mapping[str, list[TypeRow]] = {"builtin": [], "defined": []}
    for row in heap.types:
        groups["defined" if "." in row.type else "builtin"].append(row)
    kinds = [_kind(key, rows, heap.size) for key, rows in groups.items() if rows]
    kinds.sort(key=lambda kind: -kind.size)
    return MemoryMap(tuple(kinds), None, heap.size, heap.count)


def _kind(key: str, rows: Iterable[TypeRow], total: int) -> Kind:
    entries = [
        Entry(row.type, row.size, row.count, is_file=True, noun="object")
        for row in rows
        if row.size > 0
    ]
    size = sum(entry.size for entry in entries)
    return Kind(key, size, size / total if total else 0.0, tuple(entries))


def uses_of(heap: Heap) -> list[Use]:
    """Return what the writable memory is for, in one order always."""
    total = sum(heap.memory.get(key, 0) for key in _USES) or 1
    start = 0.0
    uses = []
    for key, name in _USES.items():
        size = heap.memory.get(key, 0)
        uses.append(Use(name, size, start, size / total))
        start += size / total
    return uses
