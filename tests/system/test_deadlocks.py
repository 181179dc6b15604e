"""Locks, their owners and deadlocks, in cores of programs that know who holds what."""

import json
import os
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "locked_threads.py"

SENTENCES = """\
deadlock: locks-0 waits for a Lock held by locks-1, \
which waits for a Lock held by locks-0
deadlock: rlocks-0 waits for an RLock held by rlocks-1, \
which waits for an RLock held by rlocks-0
deadlock: three-0 waits for an RLock held by three-1, \
which waits for a Lock held by three-2, which waits for a Lock held by three-0
deadlock: conditions-0 waits for an RLock held by conditions-1, \
which waits for an RLock held by conditions-0
deadlock: guards-0 waits for a Lock held by guards-1, \
which waits for a Lock held by guards-0
deadlock: joins-1 waits for a Lock held by joins-0, \
which waits for the end of joins-1
deadlock: imports-0 waits for the end of imports-1, \
which waits for an import by imports-0
deadlock: itself-0 waits for a Lock that it holds itself
deadlock: twice-0 waits for a Lock that it holds itself
""".splitlines()

pytestmark = pytest.mark.timeout(400)


class Dumped:
    """A dump of locked_threads.py, and what it told."""

    def __init__(self, told, waits, deadlocks):
        self.bundle = told["bundle"]
        self.tids = told["threads"]
        self.locks = told["locks"]
        names = {tid: name for name, tid in told["threads"].items()}
        self.waits = {names[wait.tid]: wait for wait in waits if wait.tid in names}
        self.holders = {
            name: (wait.lock.kind, names.get(wait.lock.owner), wait.lock.known_by)
            for name, wait in self.waits.items()
        }
        self.deadlocks = [[names[wait.tid] for wait in cycle] for cycle in deadlocks]


@pytest.fixture
def dumped(installed, waits_in, tmp_path):
    """Return a function that dumps the program as *kind*."""

    def dump(kind):
        command = [installed[1], PROGRAM, tmp_path, kind, "private"]
        told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return Dumped(told, *waits_in(told["bundle"]))

    return dump


@pytest.fixture
def stacks(tool, tmp_path):
    """Return a function that runs gencore stacks and returns what it prints."""

    def run(*arguments):
        command = [tool("gencore"), "stacks", "--quiet", *arguments]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout

    return run


def test_deadlocks_are_found_with_their_owners(dumped, stacks):
    """Of Locks, RLocks, both, and Conditions: each cycle once, and no other."""
    seen = dumped("deadlocked")

    assert sorted(seen.deadlocks) == [
        ["conditions-0", "conditions-1"],
        ["guards-0", "guards-1"],
        ["imports-0", "imports-1"],
        ["itself-0"],
        ["joins-1", "joins-0"],
        ["locks-0", "locks-1"],
        ["rlocks-0", "rlocks-1"],
        ["three-0", "three-1", "three-2"],
        ["twice-0"],
    ]
    assert seen.holders == {
        "locks-0": ("Lock", "locks-1", "with"),
        "locks-1": ("Lock", "locks-0", "with"),
        "rlocks-0": ("RLock", "rlocks-1", "record"),
        "rlocks-1": ("RLock", "rlocks-0", "record"),
        "three-0": ("RLock", "three-1", "record"),
        "three-1": ("Lock", "three-2", "with"),
        "three-2": ("Lock", "three-0", "with"),
        "conditions-0": ("RLock", "conditions-1", "record"),
        "conditions-1": ("RLock", "conditions-0", "record"),
        "guards-0": ("Lock", "guards-1", "with"),
        "guards-1": ("Lock", "guards-0", "with"),
        "joins-0": ("Thread", "joins-1", "record"),
        "joins-1": ("Lock", "joins-0", "with"),
        "imports-0": ("Thread", "imports-1", "record"),
        "imports-1": ("module lock", "imports-0", "record"),
        "itself-0": ("Lock", "itself-0", "with"),
        "twice-0": ("Lock", "twice-0", "with"),
    }
    assert {name: seen.waits[name].lock.address for name in seen.locks} == seen.locks

    shown = stacks(seen.bundle).splitlines()
    assert [line for line in shown if line.startswith("deadlock")] == SENTENCES
    assert shown[-1] == SENTENCES[-1]
    first = json.loads(stacks("--json", seen.bundle))["deadlocks"][0]
    assert first[0] == {
        "tid": seen.tids["locks-0"],
        "name": "locks-0",
        "lock": "Lock",
        "address": hex(seen.locks["locks-0"]),
        "held_by": seen.tids["locks-1"],
        "known_by": "with",
    }


def test_a_healthy_program_is_not_accused(dumped, stacks):
    """Owners that cannot be known are unknown, and waiting is no deadlock."""
    seen = dumped("healthy")

    assert seen.deadlocks == []
    assert {name: seen.holders[name] for name in seen.locks} == {
        "acquired-0": ("Lock", None, None),
        "acquired-1": ("Lock", None, None),
        "timed-0": ("Lock", "timed-1", "with"),
        "timed-1": ("Lock", "timed-0", "with"),
        "left-0": ("Lock", "left-1", "with"),
        "left-1": ("Lock", None, None),
        "condition-1": ("Lock", None, None),
        "handed-2": ("Lock", None, None),
        "back-0": ("Lock", None, None),
        "doubts": ("RLock", "heir", "identity"),
        "lock-waits": ("Lock", "lock-sleeps", "with"),
        "rlock-waits": ("RLock", "rlock-sleeps", "record"),
    }
    assert {name: seen.holders[name] for name in seen.waits if name not in seen.locks} == {
        "condition-0": ("Condition", None, None),
        "event": ("Event", None, None),
        "heir": ("Event", None, None),
        "imports": ("module lock", "importing heir", "identity"),
        "importing heir": ("Event", None, None),
        "queue": ("Queue", None, None),
        "simple-queue": ("Queue", None, None),
        "joins": ("Thread", "acquired-0", "record"),
    }
    assert {name for name, wait in seen.waits.items() if not wait.forever} == {
        "timed-0",
        "timed-1",
    }
    assert {name: seen.waits[name].lock.address for name in seen.locks} == seen.locks
    assert "deadlock" not in stacks(seen.bundle)
    assert json.loads(stacks("--json", seen.bundle))["deadlocks"] == []


def test_what_the_core_does_not_have_is_unknown(installed, stacks, tmp_path):
    """The content ``stacks`` has no locks: that none is found means nothing."""
    command = [installed[1], PROGRAM, tmp_path, "deadlocked", "stacks"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    assert json.loads(stacks("--json", told["bundle"]))["deadlocks"] is None
