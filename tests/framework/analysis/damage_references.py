"""Damage the heap in a core in many ways, read the references in each, print how many ended well.

damage_references.py CORE SEEDS

In a process of its own, because it loads numpy.
"""

import random
import sys
from pathlib import Path

from damaging import damaged

from gencore.analysis import Memory, find_python
from gencore.analysis.graph.direct_referrers import DirectReferrers
from gencore.analysis.graph.holders import holders_of, largest_holders
from gencore.analysis.graph.reachability import read_heap
from gencore.analysis.graph.ways import Ways
from gencore.analysis.heap.heap_search import HeapSearch
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


def look_at(python, chance):
    """Ask everything that commands ask, of some objects."""
    heap = read_heap(python)
    ways, count = Ways(heap), len(heap.objects.rows)
    direct = DirectReferrers(HeapSearch(python), python)
    assert (heap.retained[:count] >= heap.sizes).all()
    for holder in largest_holders(heap, 5):
        assert ways.expression(ways.from_root(holder.node))
    nodes = [chance.randrange(count) for _ in range(20)] if count else []
    for node in nodes:
        ways.expression(ways.from_root(node))
        address = heap.address_of(node)
        for source in direct.find(address)[:5]:
            direct.links.between(source, address)
    assert len(holders_of(heap, heap.index.within(heap.objects.addresses)[1], 5)) <= 5
    return len(heap.graph.targets)


path, seeds = Path(sys.argv[1]), int(sys.argv[2])
ended = refused = 0
with CoreFile(path) as core:
    memory = Memory.of_core(core, path, this_machine=True)
    whole = look_at(find_python(memory, core), random.Random(0))
    for seed in range(seeds):
        chance = random.Random(seed)
        try:
            look_at(find_python(damaged(memory, chance), core), chance)
        except IntegrityError:
            refused += 1
            continue
        ended += 1
print(whole, ended, refused)
