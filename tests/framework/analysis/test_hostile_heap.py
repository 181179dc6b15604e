"""A heap that somebody has damaged is counted as far as it goes, in a time that is not longer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DUMP = "import gencore; print(gencore.create_core(content='private'))"
FILL = """
import collections
class Order:
    def __init__(self): self.number, self.lines = 17, [18]
class Text(str): pass
orders = [Order() for _ in range(10)]
kept = collections.deque([n] for n in range(1000)), list(range(1000)), Text("x")
waiting = (order for order in orders)
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seeds", [2, pytest.param(16, marks=pytest.mark.exhaustive)])
def test_damaged_heaps_are_counted_or_refused(tmp_path, seeds):
    """No other error, no warning of numpy's, no endless loop, and no absurd size."""
    dump = [sys.executable, "-c", DUMP]  # a heap that is smaller than that of the tests
    core = subprocess.check_output(dump, cwd=tmp_path, text=True).strip()
    program = [sys.executable, "-W", "error", Path(__file__).with_name("damage_heap.py")]
    done = subprocess.run(
        [*program, core, str(seeds)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    types, ended, refused = map(int, done.stdout.split())
    assert types > 200
    assert ended + refused == seeds
    assert ended >= seeds // 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", [1, pytest.param(16, marks=pytest.mark.exhaustive)])
def test_references_in_damaged_heaps_are_read_or_refused(tmp_path, seeds):
    """No other error, no warning of numpy's, no endless loop: ways, holders and referrers."""
    dump = [sys.executable, "-c", DUMP]
    core = subprocess.check_output(dump, cwd=tmp_path, text=True).strip()
    program = [sys.executable, "-W", "error", Path(__file__).with_name("damage_references.py")]
    done = subprocess.run(
        [*program, core, str(seeds)], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    references, ended, refused = map(int, done.stdout.split())
    assert references > 10_000
    assert ended + refused == seeds
    assert ended >= seeds // 2


@pytest.mark.timeout(300)
def test_a_damaged_number_does_not_lead_through_all_of_memory(tmp_path):
    """Of a type, a list, a deque, a table of keys: what is read has the size that it may have."""
    dump = [sys.executable, "-c", FILL + DUMP]
    core = subprocess.check_output(dump, cwd=tmp_path, text=True).strip()
    program = [sys.executable, "-W", "error", Path(__file__).with_name("damage_parts.py")]
    done = subprocess.run(
        [*program, core, tmp_path / "copy"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sound, words = found["sound"], found["words"]
    assert found["a str that is larger than its block"]["members"] < 5000
    most = {"a list with no end": sound["references"] + words}
    for name in found.keys() - {"sound", "words"}:
        assert found[name]["references"] <= most.get(name, sound["references"] + words // 10), name
    assert found["a list with no end"]["list"] < words
    assert found["keys with no end"]["__main__.Order"] < 1000
    assert sound["references"] * 0.9 < found["a ring of blocks"]["references"]
