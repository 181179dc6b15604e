"""Print what gencore.analysis finds of the references in a core, for tests that load no numpy.

read_references.py BUNDLE [ADDRESS...]

The way to each `Held` and `Node`, the referrers of the given objects, what each dictionary
retains, and how many objects have as many references as were found.
"""

import json
import sys
from pathlib import Path

import numpy as np

from gencore.analysis import Memory, find_python
from gencore.analysis.graph.reachability import read_heap
from gencore.analysis.graph.ways import Ways
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core
from gencore.corefile import CoreFile


def nodes_of(heap, *names):
    rows = [row for row, name in enumerate(heap.objects.names) if name in names]
    return np.flatnonzero(np.isin(heap.objects.rows, rows))


def referrers(heap, node):
    first, last = heap.reverse.offsets[node : node + 2]
    return [heap.address_of(n) for n in heap.reverse.targets[first:last] if n < count]


with open_core(Path(sys.argv[1])) as opened, unpacked(opened) as copy, CoreFile(copy.core) as core:
    heap = read_heap(find_python(Memory.of_core(core, copy.core, copy.folder), core))
    count = len(heap.objects.rows)
    ways = Ways(heap, shows_values=True)
    found = nodes_of(heap, "__main__.Held", "__main__.Node")
    types = heap.objects.types
    tracked = (types.has_gc & ~types.are_metatypes)[heap.objects.rows]
    by_objects = heap.graph.targets[: heap.graph.offsets[count]]
    known = np.bincount(by_objects, minlength=count)
    counts = heap.objects.things(np.arange(count)).word() & np.uint64(0xFFFFFFFF)
    agree = counts.view(np.int64) == known
    shown = {
        "ways": {heap.address_of(n): ways.expression(ways.from_root(int(n))) for n in found},
        "referrers": {
            at: referrers(heap, heap.node_of(at))
            for at in map(int, sys.argv[2:])
            if heap.node_of(at) is not None
        },
        "retained": {heap.address_of(n): int(heap.retained[n]) for n in nodes_of(heap, "dict")},
        "agreeing": float(agree[tracked].mean()),
        "reachable": int(heap.retained[heap.root]),
        "unreachable": int(heap.sizes[heap.parents[:count] < 0].sum()),
    }
print(json.dumps(shown))
