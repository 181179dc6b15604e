"""What holds the objects of a dumped Python: the shortest way from a root, and what retains them.

Roots are modules and the frames of threads. An object to which none of them leads, and whose
count of references is larger than the number of references found, is held by native code: by the
interpreter, or by a library. What is left are cycles that the collector has not freed yet.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _graphs
from gencore.analysis.graph.adjacency import Graph
from gencore.analysis.graph.interned import are_interned
from gencore.analysis.graph.roots import FrameRoot, ModuleRoot, find_frames, find_modules
from gencore.analysis.heap.formulas import Kind
from gencore.analysis.heap.heap_objects import HeapObjects
from gencore.analysis.heap.heap_search import find_objects
from gencore.analysis.heap.object_index import ObjectIndex
from gencore.analysis.heap.parts import TypeLayouts, part_of_frames
from gencore.analysis.heap.references import (
    Edges,
    find_references,
    references_in,
    words_of,
)
from gencore.analysis.interpreter.python import Python

__all__ = ["Dominators", "Heap", "heap_of", "read_heap"]

Numbers = NDArray[np.int64]
Nodes = NDArray[np.int32]

_REFERENCES: Final = np.uint64(0xFFFFFFFF)
"""Half of the word, since 3.12; before, no object has more."""


@attrs.frozen(eq=False)
class Dominators:
    """Through which node every way to a node leads, the nearest such."""

    nearest: Nodes
    """By node; -1 of the root, and of what it does not lead to."""
    order: Nodes
    """The nodes to which the root leads, each behind its dominator; then -1."""

    def add_up(self, totals: Numbers) -> None:
        """Add to the total of each node those of all that it dominates."""
        _graphs.add_up(self.nearest, self.order, totals)


@attrs.frozen(eq=False)
class Heap:
    """The objects of a dumped Python, and how they refer to each other.

    Nodes are the objects, then the frames, then one that stands for all roots.
    """

    python: Python
    objects: HeapObjects
    index: ObjectIndex
    layouts: TypeLayouts
    modules: tuple[ModuleRoot, ...]
    frames: tuple[FrameRoot, ...]
    graph: Graph
    held_by_native: Nodes
    """Objects to which no module and no frame leads, and that native code refers to."""

    @property
    def root(self) -> int:
        """The node that leads to all roots."""
        return len(self.objects.rows) + len(self.frames)

    def node_of(self, address: int) -> int | None:
        """Return the node of the object at an address, if there is one."""
        _, found = self.index.within(np.array([address], np.uint64))
        return int(found[0]) if len(found) else None

    def address_of(self, node: int) -> int:
        """Return the address of the object that a node is."""
        return int(self.objects.addresses[node])

    @cached_property
    def sizes(self) -> Numbers:
        """Bytes of each object, as ``sys.getsizeof`` has it."""
        return self.objects.sizes()

    @cached_property
    def parents(self) -> Nodes:
        """The node before each on a shortest way from the root; -1 of the root."""
        return _shortest(self.graph, self.root)

    @cached_property
    def reverse(self) -> Graph:
        """The graph with each edge turned around."""
        return self.graph.turned()

    @cached_property
    def dominators(self) -> Dominators:
        """What keeps each node alive, alone."""
        found = Dominators(*np.empty((2, self.root + 1), np.int32))
        graph = self.graph
        reverse = graph.turned()  # which is not kept: it is as large as the graph
        _graphs.dominators(
            graph.offsets,
            graph.targets,
            reverse.offsets,
            reverse.targets,
            self.root,
            found.nearest,
            found.order,
        )
        return found

    @cached_property
    def retained(self) -> Numbers:
        """Bytes that would be free without each node: its own, and those of what it dominates."""
        dominators = self.dominators  # first, as they need much memory for a while
        totals = np.zeros(self.root + 1, np.int64)  # frames have none of their own
        totals[: len(self.sizes)] = self.sizes
        dominators.add_up(totals)
        return totals


def read_heap(python: Python) -> Heap:
    """Find every object of a dumped Python, its references, and the roots."""
    return heap_of(python, find_objects(python))


def heap_of(python: Python, objects: HeapObjects) -> Heap:
    """Find the references of every object that was found of a dumped Python, and the roots."""
    index = ObjectIndex(objects.addresses)
    layouts = TypeLayouts(python, objects.words, objects.types, objects.names)
    modules = find_modules(python)
    frames = tuple(find_frames(python))
    count = len(objects.rows)
    root = count + len(frames)
    roots = np.concatenate([_nodes_of(index, modules), np.arange(count, root, dtype=np.int32)])
    own = Edges(np.full(len(roots), root, np.int32), roots)
    graph = Graph.of(
        [
            find_references(objects, index, layouts),
            *_of_frames(python, objects, index, frames),
            own,
        ],
        root + 1,
        room=count,
    )
    held = _held_by_native(objects, graph, root)
    for table in held[are_interned(layouts, objects.things(held))]:
        graph.targets[graph.offsets[table] : graph.offsets[table + 1]] = table
    graph.append(held)
    return Heap(python, objects, index, layouts, modules, frames, graph, held)


def _held_by_native(objects: HeapObjects, graph: Graph, root: int) -> Nodes:
    """Return what no root leads to, and what has more references than were found."""
    reached, found = np.empty(root + 1, np.bool_), np.zeros(root + 1, np.uint32)
    _graphs.reach(graph.offsets, graph.targets, root, reached)
    _graphs.count_others(graph.targets, reached, found)
    unreached = np.flatnonzero(~reached[: len(objects.rows)])
    return unreached[_references(objects, unreached) > found[unreached]].astype(np.int32)


def _references(objects: HeapObjects, which: Numbers) -> Numbers:
    """Return the counts of references of some; of immortal objects something large."""
    return (objects.things(which).word() & _REFERENCES).view(np.int64)


def _of_frames(
    python: Python, objects: HeapObjects, index: ObjectIndex, frames: tuple[FrameRoot, ...]
) -> Iterator[Edges]:
    """Yield the edges from frames to their variables, and what is on their stacks."""
    kind = Kind(objects.words, python, 0, 0)
    addresses = np.array([frame.address for frame in frames], np.uint64)
    part = part_of_frames(kind, addresses, np.ones(len(frames), np.bool_))
    for owners, places in words_of(part, objects.words.most_references):
        which, found = index.within(references_in(objects.words, part, places))
        yield Edges((len(objects.rows) + owners[which]).astype(np.int32), found)


def _nodes_of(index: ObjectIndex, modules: tuple[ModuleRoot, ...]) -> Nodes:
    pairs = [(module.address, module.variables) for module in modules]
    return index.within(np.array(pairs, np.uint64).reshape(-1))[1]


def _shortest(graph: Graph, root: int) -> Nodes:
    parents = np.empty(root + 1, np.int32)
    _graphs.breadth_first(graph.offsets, graph.targets, root, parents)
    return parents
