"""Who refers to an object in a core, and if asked for, the shortest way to it from a root."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from gencore.analysis import Python
from gencore.analysis.graph.direct_referrers import DirectReferrers
from gencore.analysis.graph.links import Links
from gencore.analysis.graph.reachability import read_heap
from gencore.analysis.graph.roots import find_frames
from gencore.analysis.graph.ways import Ways
from gencore.analysis.heap.heap_search import HeapSearch
from gencore.analysis.inspection.values import Values
from gencore.corefile import CoreFile

_LONGEST: Final = 60
"""Characters of an object that are shown."""
_REFERENCES: Final = 0xFFFFFFFF


def answer(
    python: Python, _core: CoreFile, address: str, top: str, to_root: str, wanted: str = ""
) -> dict[str, Any]:
    """Return the object, at most *top* of its referrers, and the way if *to_root* is not empty.

    *wanted* is ``locals`` if values are to be shown, or empty. If no object is there, what is
    returned is only what may be missing.
    """
    search, target = HeapSearch(python), int(address)
    found: dict[str, Any] = {}
    if len(search.alive(np.array([target], np.uint64))):
        show = _Showing(python, search, shows_values=wanted == "locals")
        found = _referrers(python, search, target, int(top), show)
        found |= _way(python, target, show) if to_root else {}
    return {**found, "other_malloc": search.other_malloc, "incomplete": search.incomplete}


def _referrers(
    python: Python, search: HeapSearch, target: int, top: int, show: "_Showing"
) -> dict[str, Any]:
    direct = DirectReferrers(search, python, shows_keys=show.shows_values)
    objects = direct.find(target) if len(search.pools) else _in_graph(python, target)
    frames = [
        {"address": frame.address, "type": "frame", "shown": frame.shown, "way": link.text}
        for frame in find_frames(python)
        if (link := direct.links.from_frame(frame, target))
    ]
    first = objects[:top]
    shown = list(show.referrers(first, target, direct.links))
    return {
        **show.object(target),
        "references": python.memory.word(target) & _REFERENCES,
        "count": len(objects) - len(first) + len(shown) + len(frames),
        "referrers": [*shown, *frames][:top],
    }


def _in_graph(python: Python, target: int) -> list[int]:
    heap = read_heap(python)
    node = heap.node_of(target)
    if node is None:
        return []
    first, last = heap.reverse.offsets[node : node + 2]
    count = len(heap.objects.rows)
    return sorted({heap.address_of(n) for n in heap.reverse.targets[first:last] if n < count})


def _way(python: Python, target: int, show: "_Showing") -> dict[str, Any]:
    heap = read_heap(python)
    ways, node = Ways(heap, shows_values=show.shows_values), heap.node_of(target)
    nodes = ways.from_root(node) if node is not None else []
    objects = [heap.address_of(step) for step in nodes if step < len(heap.objects.rows)]
    return {
        "way": ways.expression(nodes) if nodes else None,
        "steps": [show.object(address) for address in objects],
    }


class _Showing:
    """Shows objects by their addresses."""

    def __init__(self, python: Python, search: HeapSearch, *, shows_values: bool) -> None:
        self._values, self._search = Values(python), search
        self.shows_values = shows_values

    def object(self, address: int) -> dict[str, Any]:
        search = self._search
        things, _ = search.words.things(np.array([address], np.uint64))
        row = int(search.types.find(things.word(8))[0])
        name = search.names[row] if row >= 0 else ""
        shown = f"<{name or 'unknown'} at {address:#x}>"
        return {
            "address": address,
            "type": name,
            "shown": self._values.show(address, _LONGEST) if self.shows_values else shown,
            "size": int(search.sizes.of(row, things)[0]) if row >= 0 else 0,
        }

    def referrers(
        self, addresses: list[int], target: int, links: Links
    ) -> Iterator[dict[str, Any]]:
        for address in addresses:
            link = links.between(address, target)
            if link is not None:
                yield {**self.object(address), "way": link.text}
