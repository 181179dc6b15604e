"""Shows the way from a root to an object as an expression that a Python programmer reads.

An example is `module cache_app: CACHE['orders'][17].payload`. Unless values are asked for, as they
may be secrets, it is `module cache_app: CACHE[str][17].payload`.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from gencore.analysis.graph.links import DICT, Link, Links
from gencore.analysis.graph.reachability import Heap
from gencore.analysis.inspection.values import Values

__all__ = ["Ways"]

_UNKNOWN: Final = Link("<missing>")
_LONGEST_WAY: Final = 1 << 12
"""Objects on it."""
_LONGEST_OBJECT: Final = 60
"""Characters of an object that are shown."""


class Ways:
    """The ways in a heap."""

    def __init__(self, heap: Heap, *, shows_values: bool = False) -> None:
        self._heap, self._shows_values = heap, shows_values
        self._values = Values(heap.python)
        self._links = Links(heap.python, heap.layouts, shows_keys=shows_values)
        self._modules = {
            address: module.shown
            for module in reversed(heap.modules)
            for address in (module.address, module.variables)
        }
        self._namespaces = {module.variables for module in heap.modules}

    def from_root(self, node: int) -> list[int]:
        """Return the nodes on a shortest way from a root to a node; none if there is none."""
        found: list[int] = []
        while node >= 0 and node != self._heap.root and len(found) < _LONGEST_WAY:
            found.append(node)
            node = int(self._heap.parents[node])
        return found[::-1] if node == self._heap.root else []

    def expression(self, nodes: Sequence[int]) -> str:
        """Return a way from a root as text."""
        if not nodes:
            return "unreachable"
        first, last = nodes[0], len(self._heap.objects.rows)
        namespace = first < last and self._heap.address_of(first) in self._namespaces
        links = [self.link(*pair) for pair in pairwise(nodes)]
        text = _joined([Link(DICT), *links] if namespace else links)
        return f"{self.root(first)}: {text}" if text else self.root(first)

    def root(self, node: int) -> str:
        """Return what a root is."""
        if node >= len(self._heap.objects.rows):
            return self._heap.frames[node - len(self._heap.objects.rows)].shown
        module = self._modules.get(self._heap.address_of(node))
        return module if module is not None else f"native code: {self.show(node)}"

    def show(self, node: int) -> str:
        """Return an object as its ``repr`` shows it, in short, or its type and address."""
        address = self._heap.address_of(node)
        if self._shows_values:
            return self._values.show(address, _LONGEST_OBJECT)
        return f"<{self._heap.objects.names[self._heap.objects.rows[node]]} at {address:#x}>"

    def link(self, source: int, target: int) -> Link:
        """Return how a node leads to an object to which it has a reference."""
        heap, address = self._heap, self._heap.address_of(target)
        if source < len(heap.objects.rows):
            found = self._links.between(heap.address_of(source), address)
        else:
            found = self._links.from_frame(heap.frames[source - len(heap.objects.rows)], address)
        return found or _UNKNOWN


def _joined(links: Iterable[Link]) -> str:
    """Return links as one expression, where names of an object's ``__dict__`` are attributes."""
    text, pending = "", False
    for link in links:
        if pending and link.name is not None:
            text += f".{link.name}"
        elif pending:
            text += f"{DICT}{link.text}"
        elif link.text != DICT:
            text += link.text
        pending = not pending and link.text == DICT
    return (text + DICT if pending and text else text).removeprefix(".")
