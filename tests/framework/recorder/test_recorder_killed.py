"""Targets, recorders and clones killed at random moments: a short run of the benchmark."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.recorder, pytest.mark.skipif(sys.platform != "linux", reason="Linux")]

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.mark.timeout(400)
@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", ["target", "recorder", "snapshot"])
def test_whoever_is_killed_leaves_nothing_that_the_next_dump_does_not_remove(victim):
    """No process, no child, no half artefact under a final name, no wrong report."""
    done = subprocess.run(
        [sys.executable, KILLS, "--count", "2", victim],
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout)["violations"] == {}, done.stdout + done.stderr
