"""The graph of references between the objects of a dumped Python: for each, those it leads to."""

from collections.abc import Iterable
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _graphs
from gencore.analysis.heap.references import Edges
from gencore.errors import IntegrityError

__all__ = ["Graph"]

Nodes = NDArray[np.int32]

_MOST_EDGES: Final = (1 << 32) - 1


@attrs.frozen(eq=False)
class Graph:
    """Edges by node: those of node n are `targets[offsets[n]:offsets[n + 1]]`."""

    offsets: NDArray[np.uint32]
    targets: Nodes

    @classmethod
    def of(cls, parts: Iterable[Edges], nodes: int) -> "Graph":
        """Sort edges by their sources; those of one source stay in their order.

        Raises `IntegrityError` if there are too many.
        """
        parts = list(parts)
        if sum(len(part.targets) for part in parts) > _MOST_EDGES:
            raise IntegrityError("the heap has more references than can be looked at")
        offsets = np.zeros(nodes + 1, np.uint32)
        for part in parts:
            _graphs.count(part.sources, offsets)
        np.cumsum(offsets, dtype=np.uint32, out=offsets)
        targets = np.empty(offsets[-1], np.int32)
        while parts:
            part = parts.pop()
            _graphs.distribute(part.sources, part.targets, offsets, targets)
        return cls(offsets, targets)

    def append(self, targets: Nodes) -> None:
        """Append edges, from the last node."""
        first = len(self.targets)
        self.targets.resize(first + len(targets), refcheck=False)  # which copies nothing large
        self.targets[first:] = targets
        self.offsets[-1] = len(self.targets)

    def turned(self) -> "Graph":
        """Return the graph with each edge turned around."""
        turned = Graph(np.empty_like(self.offsets), np.empty(len(self.targets), np.int32))
        _graphs.turn(self.offsets, self.targets, turned.offsets, turned.targets)
        return turned
