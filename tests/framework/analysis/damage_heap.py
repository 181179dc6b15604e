"""Damage the heap in a core in many ways, count and show its objects, print how many ended well.

Of the undamaged one, the blocks in use are as many as the pools say.

damage_heap.py CORE SEEDS

In a process of its own, because it loads numpy.
"""

import random
import sys
from pathlib import Path

from damaging import damaged

from gencore.analysis import Memory, find_python
from gencore.analysis.answers import inspect, objects
from gencore.analysis.heap.census import take_census
from gencore.analysis.heap.pools import blocks_in_use, find_pools
from gencore.analysis.interpreter.words import Words
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

path, seeds = Path(sys.argv[1]), int(sys.argv[2])
ended = refused = 0
with CoreFile(path) as core:
    memory = Memory.of_core(core, path, this_machine=True)
    whole = take_census(find_python(memory, core))
    words = Words(memory)
    pools = find_pools(words)
    counted = sum(len(blocks_in_use(words, batch)) for batch in pools.batches())
    assert counted == pools.used.sum() > 0
    for seed in range(seeds):
        chance = random.Random(seed)
        try:
            python = find_python(damaged(memory, chance), core)
            census = take_census(python)
            shown = objects.answer(python, core, "dict", "largest", "20")["objects"]
        except IntegrityError:
            refused += 1
            continue
        for thing in shown:
            assert inspect.answer(python, core, str(thing["address"]), "100")["type"] == "dict"
        ended += 1
        limit = sum(piece.end - piece.start for piece in memory.pieces)
        assert all(0 <= thing.size <= limit for thing in census.largest)
        assert all(row.count > 0 <= row.allocated for row in census.types)
print(len(whole.types), ended, refused)
