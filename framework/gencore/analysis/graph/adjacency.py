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
    _room: Nodes
    """The targets, and room for more."""

    @classmethod
    def of(cls, parts: Iterable[Edges], nodes: int, room: int = 0) -> "Graph":
        """Sort edges by their sources; those of one source stay in their order.

        There is *room* for so many that are appended. Raises `IntegrityError` if there are too
        many.
        """
        parts = list(parts)
        if sum(len(part.targets) for part in parts) + room > _MOST_EDGES:
            raise IntegrityError("the heap has more references than can be looked at")
        offsets = np.zeros(nodes + 1, np.uint32)
        for part in parts:
            _graphs.count(part.sources, offsets)
        np.cumsum(offsets, dtype=np.uint32, out=offsets)
        graph = cls(offsets, np.empty(int(offsets[-1]) + room, np.int32))
        targets = graph.targets
        while parts:
            part = parts.pop()
            _graphs.distribute(part.sources, part.targets, offsets, targets)
        return graph

    @property
    def targets(self) -> Nodes:
        """Of all edges."""
        return self._room[: self.offsets[-1]]

    def append(self, targets: Nodes) -> None:
        """Append edges, from the last node; there must be room for them."""
        first = int(self.offsets[-1])
        self._room[first : first + len(targets)] = targets
        self.offsets[-1] = first + len(targets)

    def turned(self) -> "Graph":
        """Return the graph with each edge turned around."""
        offsets, targets = np.empty_like(self.offsets), np.empty(len(self.targets), np.int32)
        _graphs.turn(self.offsets, self.targets, offsets, targets)
        return Graph(offsets, targets)
