"""Finds which objects of a dumped Python hold the most: bytes, or objects of one type."""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.graph.adjacency import Graph
from gencore.analysis.graph.reachability import Heap
from gencore.analysis.heap.references import Edges

__all__ = ["Holder", "holders_of", "largest_holders", "retained_by_modules"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]

_PASSED_ON: Final = 0.9
"""A node of whose total one other has this part, or more, only leads to that one."""
_LEAST: Final = 0.01
"""The part of all that a holder of objects of one type has at least."""
_SMALL: Final = 10
"""Largest holders are looked for where they retain a 1024th of all, then a 1024th of that."""


@attrs.frozen
class Holder:
    """A node without which much would be free."""

    node: int
    total: int
    """Bytes, or objects."""


def largest_holders(heap: Heap, most: int) -> list[Holder]:
    """Return the nodes that retain the most bytes, at most so many, largest first.

    Those that only lead to another one are left out.
    """
    retained = heap.retained
    least = int(retained[heap.root]) >> _SMALL
    own = _own(heap, least)
    while len(own) < most and least:  # there are few as large as that
        least >>= _SMALL
        own = _own(heap, least)
    order = np.argsort(-retained[own], kind="stable")[:most]
    return [Holder(int(node), int(retained[node])) for node in own[order]]


def _own(heap: Heap, least: int) -> Numbers:
    """Return the nodes that retain more bytes than *least* and do not only lead to another."""
    retained, nearest = heap.retained, heap.dominators.nearest
    held = np.flatnonzero(retained > int(_PASSED_ON * least))
    held = held[nearest[held] >= 0]
    above = nearest[held]
    passed_on = retained[held] >= _PASSED_ON * retained[above]
    only_lead = above[passed_on]
    own = held[retained[held] > least]
    return own[~np.isin(own, only_lead)]


def retained_by_modules(heap: Heap, prefixes: tuple[str, ...]) -> int:
    """Return the bytes that only modules whose names begin so keep alive, each by itself."""
    nodes = {
        heap.node_of(address)
        for module in heap.modules
        if module.name.startswith(prefixes)
        for address in (module.address, module.variables)
    }
    tops = [n for n in nodes if n is not None and heap.dominators.nearest[n] == heap.root]
    return int(heap.retained[tops].sum())


def holders_of(heap: Heap, nodes: Nodes, most: int) -> list[Holder]:
    """Return what holds some objects: each holder alone keeps those that are counted alive.

    At most *most* holders, the largest first; an object that several hold is in none.
    """
    totals = np.zeros(heap.root + 1, np.int64)
    totals[nodes] = 1
    heap.dominators.add_up(totals)
    totals[nodes] -= 1
    found = _Descent(heap, totals).holders(max(2, int(len(nodes) * _LEAST)))
    return sorted(found, key=lambda holder: -holder.total)[:most]


class _Descent:
    """From the root down to where what is held is no longer below one node."""

    def __init__(self, heap: Heap, totals: Numbers) -> None:
        nearest = heap.dominators.nearest
        held = np.flatnonzero((nearest >= 0) & (totals > 0)).astype(np.int32)
        self._root, self._totals = heap.root, totals
        self._below = Graph.of([Edges(nearest[held], held)], len(nearest))

    def holders(self, least: int) -> Iterator[Holder]:
        for node in self._nodes_below(self._root):
            if self._totals[node] >= least:
                yield self._holder(node)

    def _holder(self, node: int) -> Holder:
        totals = self._totals
        while len(below := self._nodes_below(node)):
            largest = int(below[np.argmax(totals[below])])
            if totals[largest] < _PASSED_ON * totals[node]:
                break
            node = largest
        return Holder(node, int(totals[node]))

    def _nodes_below(self, node: int) -> Nodes:
        first, last = self._below.offsets[node : node + 2]
        return self._below.targets[first:last]
