"""An armed process at rest: its agent sleeps."""

import os
import subprocess
import sys

import pytest
from running_services import agent_at_rest, switches

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's")
TICKS, TRIES = 200, 10
TICKING = f"""
import time
for _ in range({TRIES}):
    input()
    for _ in range({TICKS}):
        time.sleep(0.01)
    print("ticked", flush=True)
"""


@pytest.fixture
def ticking():
    """Start an armed program that sleeps often for each line that it gets."""
    process = subprocess.Popen(
        [sys.executable, "-c", TICKING],
        env={**os.environ, "GENCORE_ARM": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def woken_while_ticking(process):
    """Return how often the agent was woken while the main thread was, hundreds of times."""
    agent = agent_at_rest(process.pid)
    main = agent.with_name(str(process.pid))
    before = switches(agent), switches(main)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ticked\n"
    assert switches(main) - before[1] >= TICKS
    return switches(agent) - before[0]


def test_the_agent_is_not_woken_while_the_process_works(ticking):
    """Not once; where another test lists armed processes meanwhile, it answers: then again."""
    assert any(woken_while_ticking(ticking) == 0 for _ in range(TRIES))
