"""Which objects in a core retain the most bytes, and how they are reached."""

from typing import Any, Final

from gencore.analysis.graph.holders import largest_holders, retained_by_modules
from gencore.analysis.graph.reachability import Heap
from gencore.analysis.graph.ways import Ways

_OURS: Final = ("gencore",)
"""What the names of gencore's own modules begin with."""


def of_heap(heap: Heap, top: int, *, shows_values: bool = False) -> dict[str, Any]:
    """Return at most *top* objects, largest first, and the bytes of all.

    With *shows_values*, keys are shown on the way to them.
    """
    ways = Ways(heap, shows_values=shows_values)
    count = len(heap.objects.rows)
    reachable = int(heap.retained[heap.root])
    return {
        "reachable": reachable,
        "unreachable": int(heap.sizes.sum()) - reachable,
        "gencore": retained_by_modules(heap, _OURS),
        "holders": [
            {
                "address": heap.address_of(holder.node)
                if holder.node < count
                else heap.frames[holder.node - count].address,
                "type": (
                    heap.objects.names[heap.objects.rows[holder.node]]
                    if holder.node < count
                    else "frame"
                ),
                "way": ways.expression(ways.from_root(holder.node)),
                "retained": holder.total,
            }
            for holder in largest_holders(heap, top)
        ],
    }
