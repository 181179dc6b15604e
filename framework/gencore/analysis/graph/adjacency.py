"""The graph of references between the objects of a dumped Python: for each, those it leads to."""

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _graphs

__all__ = ["Graph"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]


@attrs.frozen(eq=False)
class Graph:
    """Edges by node: those of node n are `targets[offsets[n]:offsets[n + 1]]`."""

    offsets: Numbers
    targets: Nodes

    @classmethod
    def of(cls, sources: Nodes, targets: Nodes, nodes: int) -> "Graph":
        """Sort edges by their sources; those of one source stay in their order."""
        graph = cls(np.empty(nodes + 1, np.int64), np.empty(len(targets), np.int32))
        _graphs.group(sources, targets, graph.offsets, graph.targets)
        return graph
