"""The script that counts what is noticed of captures, in short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "unnoticed.py"
ROW = re.compile(r"^\| (.*?) \|.* (\d+) / (\d+) \|$", re.MULTILINE)

pytestmark = [pytest.mark.timeout(400), pytest.mark.exhaustive]


@pytest.fixture(scope="module")
def counted():
    """Return for each row of both tables: noticed, tried."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick"], capture_output=True, text=True, check=True
    )
    return {name: (int(noticed), int(tried)) for name, noticed, tried in ROW.findall(done.stdout)}


def test_every_call_of_the_table_is_tried(counted):
    """The names in the script's table are those of calls.c."""
    native = SCRIPT.parents[2] / "backends" / "gencore_backends" / "linux" / "native"
    names = re.findall(r"\bROW\((\w+),", (native / "calls.c").read_text().split("{", 1)[1])

    assert {name for name in names if f"`{name}`" not in " ".join(counted)} <= {"name"}


def test_no_call_without_a_timeout_is_ended_and_no_transfer_cut_short(counted):
    """Those are promised, however busy the machine."""
    promised = [name for name in counted if name.endswith(("without a timeout", "transfer"))]

    assert len(promised) > 45
    assert {name: counted[name] for name in promised if counted[name][0]} == {}


def test_signals_that_need_not_end_a_call_are_all_handled(counted):
    """Queued ones, and those whose handlers have SA_RESTART."""
    promised = [name for name in counted if "SA_RESTART" in name or "sigwaitinfo" in name]

    assert len(promised) == 5
    assert {name: counted[name] for name in promised if counted[name][0]} == {}


def test_of_the_other_signals_most_end_their_call(counted):
    """The rate depends on the machine's load; see docs/explanation/threads.md."""
    kinds = [name for name in counted if "kill()" in name]

    assert len(kinds) == 22
    assert {name: counted[name] for name in kinds if 2 * counted[name][0] > counted[name][1]} == {}
