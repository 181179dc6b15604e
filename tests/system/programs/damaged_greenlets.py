"""Damage greenlets in a bundle in many ways, read them each time; print how many there are.

Of the whole bundle, and the least and the sum of those that were found in damaged ones.

damaged_greenlets.py BUNDLE SEEDS
"""

import random
import struct
import sys

from gencore.analysis import Memory, find_python, read_greenlets
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

STATES = {"suspended", "running", "not started", "ended"}


class Changed(Memory):
    """Memory of which some words are others, and which notes where it is read."""

    def __init__(self, memory, words):
        super().__init__(memory.pieces)
        self._words = words
        self.addresses = set()

    def word(self, address):
        self.addresses.add(address)
        there = super().word(address)
        return self._words.get(address, there)

    def number(self, address, size):
        data = struct.pack("<Q", self.word(address & ~7))[address & 7 :]
        return int.from_bytes(data[:size], "little", signed=True)


with (
    open_core(sys.argv[1]) as opened,
    unpacked(opened) as copy,
    CoreFile(copy.core) as core,
):
    memory = Memory.of_core(core, copy.core, copy.folder)
    noting = Changed(memory, {})
    python = find_python(noting, core)
    noting.addresses.clear()
    whole = len(read_greenlets(python))
    addresses = sorted(noting.addresses)
    counts = []
    for seed in range(int(sys.argv[2])):
        chance = random.Random(seed)
        words = {
            chance.choice(addresses): chance.choice(
                (chance.getrandbits(64), chance.choice(addresses), 0, (1 << 64) - 8)
            )
            for _ in range(chance.choice((1, 5, 40)))
        }
        try:
            found = read_greenlets(find_python(Changed(memory, words), core))
        except IntegrityError:
            continue
        assert {greenlet.state for greenlet in found} <= STATES
        counts.append(len(found))
print(whole, min(counts), sum(counts))
