"""Finds which objects of a dumped Python hold the most: bytes, or objects of one type."""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.graph.adjacency import Graph
from gencore.analysis.graph.reachability import Heap

__all__ = ["Holder", "holders_of", "largest_holders", "retained_by_modules"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]

_PASSED_ON: Final = 0.9
"""A node of whose total one other has this part, or more, only leads to that one."""
_LEAST: Final = 0.01
"""The part of all that a holder of objects of one type has at least."""


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
    retained, nearest = heap.retained, heap.dominators.nearest
    held = np.flatnonzero((nearest >= 0) & (retained > 0))
    above = nearest[held]
    only_lead = np.zeros(len(retained), np.bool_)
    only_lead[above[retained[held] >= _PASSED_ON * retained[above]]] = True
    own = held[~only_lead[held]]
    return [Holder(int(node), int(retained[node])) for node in _first(own, retained, most)]


def _first(nodes: Numbers, totals: Numbers, most: int) -> Numbers:
    """Return those of the largest totals, largest first, in order of nodes if they are equal."""
    found = totals[nodes]
    if len(found) > most:
        large = found >= np.partition(found, -most)[-most]
        nodes, found = nodes[large], found[large]
    return nodes[np.argsort(-found, kind="stable")[:most]]


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
    ones = np.zeros(heap.root + 1, np.int64)
    ones[nodes] = 1
    totals = heap.dominators.add_up(ones)
    found = _Descent(heap, totals - ones).holders(max(2, int(len(nodes) * _LEAST)))
    return sorted(found, key=lambda holder: -holder.total)[:most]


class _Descent:
    """From the root down to where what is held is no longer below one node."""

    def __init__(self, heap: Heap, totals: Numbers) -> None:
        nearest = heap.dominators.nearest
        held = np.flatnonzero((nearest >= 0) & (totals > 0)).astype(np.int32)
        self._root, self._totals = heap.root, totals
        self._below = Graph.of(nearest[held], held, len(nearest))

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
