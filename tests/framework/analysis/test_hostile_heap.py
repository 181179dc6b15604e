"""A heap that somebody has damaged is counted as far as it goes, in a time that is not longer."""

import subprocess
import sys
from pathlib import Path

import pytest

DUMP = "import gencore; print(gencore.create_core(content='private'))"


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
