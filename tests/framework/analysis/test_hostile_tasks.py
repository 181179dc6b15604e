"""Tasks in a core that somebody has damaged: whatever stands in it, there is an end."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.analysis import AbsentMemory, Memory, Values, find_python, read_tasks
from gencore.analysis.asynchronous.coroutines import CoroutineReader
from gencore.analysis.cycles import find_cycles
from gencore.analysis.interpreter.layouts import FUTURES
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

PROGRAM = Path(__file__).parents[2] / "system" / "programs" / "recorded_tasks.py"
STATES = {"running", "ready", "not started", "waiting", "finished", "failed", "cancelled"}


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """Return a core of a program with many tasks, and its memory."""
    directory = tmp_path_factory.mktemp("bundle")
    command = [sys.executable, PROGRAM, directory, "private"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        with (
            open_core(told["bundle"]) as opened,
            unpacked(opened) as copy,
            CoreFile(copy.core) as core,
        ):
            yield core, Memory.of_core(core, copy.core, copy.folder)


class Changed(Memory):
    """Memory of which some words are others, and which notes where it is read."""

    def __init__(self, memory, words, gone=()):
        super().__init__(memory.pieces)
        self._words, self._gone = words, gone
        self.addresses = set()

    def word(self, address):
        self.addresses.add(address)
        if address in self._gone:
            raise AbsentMemory.at(address, 8)
        there = super().word(address)
        return self._words.get(address, there)

    def read(self, address, size):
        words = range(address & ~7, address + min(size, 512), 8)
        self.addresses.update(words)
        data = bytearray(super().read(address, size))
        for at in words:
            if at in self._words and address <= at <= address + size - 8:
                struct.pack_into("<Q", data, at - address, self._words[at])
        return bytes(data)


@pytest.fixture(scope="module")
def whole(dumped):
    """Return the tasks of the core as it is, and where the words are that are read for them."""
    core, memory = dumped
    noting = Changed(memory, {})
    found = read_tasks(find_python(noting, core))
    assert len(found.tasks) > 50
    return found, sorted(noting.addresses)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(data=st.data())
def test_damaged_memory_gives_what_can_be_had(dumped, whole, data):
    """No other error, and no endless loop: a word may be anything, or lead to any other."""
    core, memory = dumped
    addresses = st.sampled_from(whole[1])
    words = st.one_of(
        addresses,
        st.integers(0, 2**64 - 1),
        st.sampled_from([0, 1, 2**31 - 1, 2**63, 2**64 - 8]),
    )
    places = data.draw(st.dictionaries(addresses, words, min_size=1, max_size=50))
    gone = data.draw(st.sets(addresses, max_size=5))

    try:
        found = read_tasks(find_python(Changed(memory, places, gone), core))
    except IntegrityError:  # of the Python itself: a damaged core may have none
        return
    assert {task.state for task in found.tasks} <= STATES
    known = {task.address for task in found.tasks}
    assert {link.task for task in found.tasks for link in task.awaits} <= known
    assert {address for cycle in found.cycles for address in cycle} <= known


def task_of(whole, name):
    return next(task for task in whole[0].tasks if task.name == name)


def test_a_coroutine_that_awaits_itself_comes_to_an_end(dumped, whole):
    """The last value on its stack is the coroutine."""
    core, memory = dumped
    python = find_python(memory, core)
    task = task_of(whole, "chain")
    coroutine = memory.word(task.address + FUTURES[python.minor].coroutine)
    frame, inner, _ = CoroutineReader(python, Values(python)).chain(coroutine).frames
    slots = range(frame + python.layout.locals_of_frame, frame + 400, 8)
    awaiting = inner - python.layout.frame_of_generator
    awaited = next(at for at in slots if memory.word(at) & ~7 == awaiting)

    found = read_tasks(find_python(Changed(memory, {awaited: coroutine}), core))

    (changed,) = (row for row in found.tasks if row.address == task.address)
    assert changed.incomplete == "the coroutines await each other without end"
    assert len(changed.frames) == 1


def test_a_task_that_is_missing_costs_only_itself(dumped, whole):
    """Its type cannot be read."""
    core, memory = dumped
    task = task_of(whole, "chain")

    found = read_tasks(find_python(Changed(memory, {}, {task.address + 8}), core))

    names = {row.name for row in whole[0].tasks}
    assert {row.name for row in found.tasks} == names - {"chain"}
    assert found.incomplete is not None


def test_missing_lists_are_said_to_be_missing(dumped):
    """As of a core that has only stacks: none was found, and that means nothing."""
    core, memory = dumped
    python = find_python(memory, core)
    at = next(python.interpreters()) + python.layout.modules_of_interpreter

    found = read_tasks(find_python(Changed(memory, {at: 0}), core))

    assert found.incomplete is not None


@pytest.mark.parametrize(
    ("following", "cycles"),
    [
        ({}, []),
        ({1: []}, []),
        ({1: [1]}, [{1}]),
        ({1: [2], 2: [1]}, [{1, 2}]),
        ({1: [2], 2: [3], 3: [4, 2], 4: [5]}, [{2, 3}]),
        ({1: [2, 3], 2: [1], 3: [4], 4: [3]}, [{1, 2}, {3, 4}]),
        ({1: [9]}, []),
    ],
)
def test_each_cycle_is_found_once(following, cycles):
    """Whatever leads to it or from it is no part of it."""
    assert [set(cycle) for cycle in find_cycles(following)] == cycles


def test_a_long_cycle_is_followed_in_one_pass():
    """Each leads to the next one, and the last to the first; many others lead into it."""
    count = 1 << 16
    following = {n: [(n + 1) % count] for n in range(count)}
    following |= {n: [n % count] for n in range(count, 2 * count)}

    (cycle,) = find_cycles(following)

    assert len(cycle) == count
