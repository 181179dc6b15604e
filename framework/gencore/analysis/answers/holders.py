"""Which objects in a core hold the objects of some types, and where these are."""

from typing import Any, Final

import numpy as np

from gencore.analysis import Python
from gencore.analysis.graph.holders import holders_of
from gencore.analysis.graph.reachability import read_heap
from gencore.analysis.graph.ways import Ways
from gencore.corefile import CoreFile

_MOST_HOLDERS: Final = 16
_MOST_ADDRESSES: Final = 50_000


def answer(python: Python, _core: CoreFile, wanted: str, *types: str) -> list[dict[str, Any]]:
    """Return a row for each of *types*: addresses of types with one name, with commas between.

    *wanted* is ``locals`` if keys are to be shown on the way to what holds them, or empty.
    """
    heap = read_heap(python)
    ways = Ways(heap, shows_values=wanted == "locals")
    rows = []
    for addresses in types:
        chosen = np.array([int(address) for address in addresses.split(",")], np.uint64)
        of_type = np.flatnonzero(np.isin(heap.objects.types.addresses, chosen))
        nodes = np.flatnonzero(np.isin(heap.objects.rows, of_type)).astype(np.int32)
        found = holders_of(heap, nodes, _MOST_HOLDERS)
        rows.append(
            {
                "holders": [
                    {"way": ways.expression(ways.from_root(h.node)), "count": h.total}
                    for h in found
                ],
                "addresses": heap.objects.addresses[nodes[:_MOST_ADDRESSES]].tolist(),
            }
        )
    return rows
