"""The objects of a type in a core, the largest or a sample of them."""

import difflib
from collections.abc import Iterator
from typing import Any

import numpy as np

from gencore.analysis import Python, Values
from gencore.analysis.heap.heap_objects import HeapObjects
from gencore.analysis.heap.heap_search import HeapSearch, Numbers
from gencore.corefile import CoreFile

_MOST_CLOSE = 5


def answer(python: Python, _core: CoreFile, name: str, order: str, top: str) -> dict[str, Any]:
    """Return *top* objects of the types with a name, qualified or the last part of it.

    *order* is ``largest``, or ``sample``: as far apart in memory as possible. With them come
    the types, and names like this one if there are none.
    """
    search = HeapSearch(python)
    heap = search.together(search.found())
    rows = [row for row, known in enumerate(heap.names) if f".{known}".endswith(f".{name}")]
    close = [] if rows else difflib.get_close_matches(name, _names(heap), _MOST_CLOSE)
    chosen = np.flatnonzero(np.isin(heap.rows, rows))
    sizes = _sizes(heap, chosen)
    shown = _largest(sizes, int(top)) if order == "largest" else _spread(len(chosen), int(top))
    values = Values(python)
    return {
        "types": [_type(heap, row, sizes[heap.rows[chosen] == row]) for row in rows],
        "close": close,
        "objects": [
            {
                "type": heap.names[heap.rows[chosen[index]]],
                "address": (address := int(heap.addresses[chosen[index]])),
                "size": int(sizes[index]),
                "value": values.show(address),
            }
            for index in shown
        ],
        "other_malloc": search.other_malloc,
        "incomplete": search.incomplete,
    }


def _names(heap: HeapObjects) -> Iterator[str]:
    """Yield the names of the types, and their last parts, of which either may have been meant."""
    for name in dict.fromkeys(heap.names):
        yield name
        yield name.rpartition(".")[2]


def _sizes(heap: HeapObjects, chosen: Numbers) -> Numbers:
    """Return the sizes of some objects."""
    rows = heap.rows[chosen]
    sizes = np.zeros(len(chosen), np.int64)
    for row in np.unique(rows):
        of_type = rows == row
        sizes[of_type] = heap.sizes_by_type.of(int(row), heap.things(chosen[of_type]))
    return sizes


def _largest(sizes: Numbers, top: int) -> Numbers:
    return np.argsort(-sizes, kind="stable")[:top]


def _spread(count: int, top: int) -> Numbers:
    places: Numbers = np.arange(min(count, top)) * count // max(1, min(count, top))
    return places


def _type(heap: HeapObjects, row: int, sizes: Numbers) -> dict[str, Any]:
    return {
        "type": heap.names[row],
        "address": int(heap.types.addresses[row]),
        "count": len(sizes),
        "size": int(sizes.sum()),
    }
