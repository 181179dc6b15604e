"""A service under load is dumped again and again, in short, and stays what it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"

pytestmark = pytest.mark.timeout(400)


@pytest.mark.exhaustive
def test_twenty_dumps_of_a_service_under_load_change_nothing():
    """No byte, signal, thread, child or descriptor is lost or left; each dump is complete."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--dumps", "20"], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)

    assert figures["violations"] == {}
    assert figures["incomplete"] == {}
    assert figures["load"]["transfers"] > 0
    assert figures["load"]["forks"] > 0
