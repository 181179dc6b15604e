"""Damage the heap in a core in many ways, count and show its objects, print how many ended well.

Of the undamaged one, the blocks in use are as many as the pools say.

damage_heap.py CORE SEEDS

In a process of its own, because it loads numpy.
"""

import random
import struct
import sys
from pathlib import Path

from gencore.analysis import Memory, Piece, find_python
from gencore.analysis.answers import inspect, objects
from gencore.analysis.census import take_census
from gencore.analysis.pools import blocks_in_use, find_pools
from gencore.analysis.words import Words
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

MOST_WORDS = 20_000


def damaged(memory, chance):
    """Return the memory with words that are random, or point to something, or without pieces."""
    pieces = []
    addresses = [address for piece in memory.pieces for address in (piece.start, piece.end)]
    for piece in memory.pieces:
        if not piece.writable:
            pieces.append(piece)
            continue
        data = bytearray(piece.source[piece.offset : piece.offset + piece.end - piece.start])
        for _ in range(min(MOST_WORDS, len(data) // 64) if chance.random() < 0.8 else 0):
            word = chance.choice(
                (
                    chance.getrandbits(64),
                    chance.choice(addresses) + chance.randrange(1 << 20),
                    chance.randrange(1 << 12),
                    piece.start + chance.randrange(len(data)) & ~7,
                    (1 << 64) - 1 - chance.randrange(64),
                )
            )
            at = chance.randrange(len(data) // 8) * 8
            struct.pack_into("<Q", data, at, word % (1 << 64))
        if chance.random() < 0.95:
            view = memoryview(data)
            pieces.append(Piece(piece.start, piece.end, view, 0, writable=True, path=piece.path))
    return Memory(pieces)


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
