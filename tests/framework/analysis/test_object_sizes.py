"""Sizes of objects, which are kept in 32 bits as long as all of them fit."""

import json
import subprocess
import sys
from itertools import chain

import pytest

COLLECTED = """if True:
    import json, sys
    import numpy as np
    from gencore.analysis.heap.heap_objects import Found, HeapObjects
    from gencore.analysis.interpreter.words import Things
    none = np.zeros(0, np.uint64)
    def found(sizes):
        places = np.arange(len(sizes))
        things = Things(places.view(np.uint64), places, none)
        return Found(things, places, np.array(sizes, np.int64))
    room, *parts = json.loads(sys.argv[1])
    objects = HeapObjects.of(map(found, parts), room, None, None, [], None)
    sizes = objects.sizes()
    print(json.dumps([sizes.tolist(), sizes.itemsize]))
"""
LARGEST = (1 << 32) - 1


@pytest.mark.parametrize("room", [0, 3, 9])
@pytest.mark.parametrize(
    ("parts", "width"),
    [
        ([[1, 2], [], [LARGEST]], 4),
        ([[1, 2], [], [LARGEST + 1, 3]], 8),
        ([[1 << 40], [LARGEST], [1 << 40]], 8),
        ([[], []], 4),
    ],
)
def test_sizes_are_those_that_were_counted(room, parts, width):
    """An object of more than 4 GiB, for example an array, makes room for all of them."""
    command = [sys.executable, "-c", COLLECTED, json.dumps([room, *parts])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[*chain(*parts)], width]
