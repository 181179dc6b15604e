"""Who refers to an object in a core, and the shortest way to it from a root."""

from typing import Any

import numpy as np

from gencore.analysis import Python
from gencore.analysis.reachability import Heap, read_heap
from gencore.analysis.ways import Ways
from gencore.corefile import CoreFile


def answer(python: Python, _core: CoreFile, address: str, top: str) -> dict[str, Any] | None:
    """Return the object, at most *top* of its referrers, and the way; None if there is none."""
    heap = read_heap(python)
    node = heap.node_of(int(address))
    if node is None:
        return None
    ways = Ways(heap)
    way = ways.from_root(node)
    first, last = heap.reverse.offsets[node : node + 2]
    sources = [int(source) for source in np.unique(heap.reverse.targets[first:last])]
    sources = [source for source in sources if source != heap.root]
    return {
        **_object(heap, ways, node),
        "references": int(heap.objects.things.word()[node] & np.uint64(0xFFFFFFFF)),
        "count": len(sources),
        "referrers": [
            {**_object(heap, ways, source), "way": ways.link(source, node).text}
            for source in sources[: int(top)]
        ],
        "way": ways.expression(way) if way else None,
        "steps": [_object(heap, ways, step) for step in way],
    }


def _object(heap: Heap, ways: Ways, node: int) -> dict[str, Any]:
    if node >= len(heap.objects.rows):
        frame = heap.frames[node - len(heap.objects.rows)]
        return {"address": frame.address, "type": "frame", "shown": ways.root(node), "size": 0}
    return {
        "address": heap.address_of(node),
        "type": heap.objects.names[heap.objects.rows[node]],
        "shown": ways.show(node),
        "size": int(heap.sizes[node]),
    }
