"""Damage single words of a core, and print what is then read of references as JSON.

damage_parts.py CORE COPY

In a process of its own, because it loads numpy.
"""

import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np

from gencore.analysis import Memory, find_python
from gencore.analysis.graph.reachability import read_heap
from gencore.corefile import CoreFile

BASIC_SIZE, CACHED_KEYS, ENTRIES = 32, 872, 24
"""Of a type, of a type in 3.11, and of a table of keys."""
SIZE, FIRST_BLOCK, NEXT_BLOCK = 16, 24, 65 * 8
"""Of a list or deque, of a deque, and of a block of it."""


def read(path):
    """Return the heap and the memory of a core."""
    with CoreFile(path) as core:
        memory = Memory.of_core(core, path, this_machine=True)
        return read_heap(find_python(memory, core)), memory


def of_type(heap, name):
    """Return the objects of a type."""
    nodes = np.flatnonzero(heap.objects.rows == heap.layouts.row_of(name))
    addresses = np.array([heap.address_of(node) for node in nodes], np.uint64)
    return heap.objects.words.things(addresses)[0]


def longest(heap, name):
    """Return the most words that an object of a type has."""
    parts = heap.layouts.of(heap.layouts.row_of(name)).parts(of_type(heap, name))
    return max((int(part.counts.max(initial=0)) for part in parts), default=0)


def described(heap):
    """Return what damage must not make much larger."""
    names = ("list", "__main__.Order", "collections.deque")
    members = max(len(heap.layouts.of(row).members) for row in range(len(heap.objects.types)))
    return {
        "references": len(heap.graph.targets),
        "members": members,
        **{name: longest(heap, name) for name in names},
    }


def changed(memory, path, copy, words):
    """Return the heap of a core with some words changed."""
    shutil.copyfile(path, copy)
    with copy.open("r+b") as file:
        for address, word in words.items():
            piece = memory.piece_at(address)
            file.seek(address - piece.start + piece.offset)
            file.write(struct.pack("<Q", word))
    return read(copy)[0]


def largest(heap, name):
    """Return the address of the longest object of a type."""
    things = of_type(heap, name)
    return int(things.addresses[np.argmax(things.word(SIZE))])


def damages(heap, memory):
    """Return words to change, by what they damage."""
    generators, orders, texts = (
        int(heap.objects.types.addresses[heap.layouts.row_of(name)])
        for name in ("generator", "__main__.Order", "__main__.Text")
    )
    deque, items = largest(heap, "collections.deque"), largest(heap, "list")
    block = memory.word(deque + FIRST_BLOCK)
    second = memory.word(block + NEXT_BLOCK)
    third = memory.word(second + NEXT_BLOCK)
    return {
        "generators that are smaller than a frame": {generators + BASIC_SIZE: 24},
        "a str that is larger than its block": {texts + BASIC_SIZE: 1 << 20},
        "a list with no end": {items + SIZE: 1 << 60},
        "a ring of blocks": {deque + SIZE: 1 << 60, third + NEXT_BLOCK: second},
        "keys with no end": {memory.word(orders + CACHED_KEYS) + ENTRIES: 1 << 40},
    }


core, copy = map(Path, sys.argv[1:])
sound, memory = read(core)
found = {
    name: described(changed(memory, core, copy, words))
    for name, words in damages(sound, memory).items()
}
words = sum(len(run.words) for run in sound.objects.words.writable())
print(json.dumps({"sound": described(sound), "words": words, **found}))
