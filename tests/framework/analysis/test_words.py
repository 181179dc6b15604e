"""Many words of a memory at once, wherever the core has its pages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BASE = 0x400000
LIBRARY = 0x800000


def read(skew, pages, *addresses):
    """Return what read_words.py prints."""
    program = [sys.executable, Path(__file__).with_name("read_words.py")]
    arguments = map(str, (skew, pages, *addresses))
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("skew", [0, 0x5F0, 0x5F4, 0x5F1])
def test_pages_may_lie_anywhere_in_the_core(skew):
    """Gcore puts them directly behind its notes, which end anywhere."""
    found = read(skew, 1, BASE, BASE + 8 * 511, LIBRARY)

    assert (found["values"], found["there"]) == ([0, 511, 0], [True, True, True])
    assert (found["things"], found["ours"]) == ([0, 511], [True, True, False])
    assert found["writable"] == [list(range(512))]


def test_a_library_may_be_larger_than_the_core():
    """What the core has is found all the same."""
    found = read(0, 16, BASE + 8)

    assert (found["ours"], found["things"]) == ([True], [1])


def test_room_ends_where_memory_has_a_gap():
    """Pieces that lie one behind the other have none between them."""
    found = read(0, 1, BASE, BASE + 8 * 511, BASE + 4096, LIBRARY, LIBRARY + 64, 8)

    assert found["room"] == [512, 1, 0, 512, 504, 0]
