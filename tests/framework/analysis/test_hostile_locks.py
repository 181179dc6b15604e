"""Locks in a core that somebody has damaged: whatever stands in it, there is an end."""

import contextlib
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.analysis import Lock, Memory, Wait, find_deadlocks, find_python, read_waits
from gencore.analysis.answers import stacks
from gencore.analysis.inspection.values import Values
from gencore.analysis.locking.waiting import Kind
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core
from gencore.corefile import CoreFile, FileMapping
from gencore.errors import IntegrityError

PROGRAM = Path(__file__).parents[2] / "system" / "programs" / "locked_threads.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks are unknown of it")


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """Return a core of a program in deadlocks, its memory, and what the program told."""
    directory = tmp_path_factory.mktemp("bundle")
    command = [sys.executable, PROGRAM, directory, "deadlocked", "private"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        with (
            open_core(told["bundle"]) as opened,
            unpacked(opened) as copy,
            CoreFile(copy.core) as core,
        ):
            yield core, Memory.of_core(core, copy.core, copy.folder), told


class Changed(Memory):
    """Memory of which some words are others."""

    def __init__(self, memory, words):
        super().__init__(memory.pieces)
        self._words = words

    def word(self, address):
        there = super().word(address)
        return self._words.get(address, there)

    def read(self, address, size):
        data = bytearray(super().read(address, size))
        for at, word in self._words.items():
            if address <= at <= address + size - 8:
                struct.pack_into("<Q", data, at - address, word)
        return bytes(data)


class Read(Memory):
    """Memory that notes which words are read of it."""

    def __init__(self, memory):
        super().__init__(memory.pieces)
        self.addresses = set()

    def word(self, address):
        self.addresses.add(address)
        return super().word(address)

    def read(self, address, size):
        self.addresses.update(range(address, address + min(size, 512), 8))
        return super().read(address, size)


@pytest.fixture(scope="module")
def read_addresses(dumped):
    """Return where the words are that are read: what is changed elsewhere is not seen."""
    core, memory, _ = dumped
    noting = Read(memory)
    assert len(find_deadlocks(read_waits(find_python(noting, core), core))) == 9
    return sorted(noting.addresses)


def test_stacks_are_read_if_locks_cannot_be(dumped, monkeypatch):
    """That deadlocks are unknown is not that there are none."""
    core, memory, _ = dumped
    python = find_python(memory, core)

    def fail(*_):
        raise IntegrityError("a lock is missing")

    whole = stacks.answer(python, core)
    monkeypatch.setattr("gencore.analysis.answers.stacks.read_waits", fail)

    assert len(whole["deadlocks"]) == 9
    assert stacks.answer(python, core) == {**whole, "deadlocks": None}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(data=st.data())
def test_damaged_memory_gives_what_can_be_had(dumped, read_addresses, data):
    """No other error, and no endless loop: a word may be anything, or lead to any other."""
    core, memory, _ = dumped
    words = st.one_of(
        st.sampled_from(read_addresses),
        st.integers(0, 2**64 - 1),
        st.sampled_from([0, 1, 2**31 - 1, 2**63, 2**64 - 8]),
    )
    places = st.dictionaries(st.sampled_from(read_addresses), words, min_size=1, max_size=50)
    changed = Changed(memory, data.draw(places))

    with contextlib.suppress(IntegrityError):
        waits = read_waits(find_python(changed, core), core)
        assert {wait.lock.kind for wait in waits} <= set(get_args(Kind))
        for cycle in find_deadlocks(waits):
            followers = [*cycle[1:], cycle[0]]
            assert [wait.lock.owner for wait in cycle] == [wait.tid for wait in followers]


def test_frames_in_a_cycle_come_to_an_end(dumped):
    """The innermost frame of each thread leads to itself."""
    core, memory, _ = dumped
    python = find_python(memory, core)
    firsts = [next(python.frames(state)) for state in python.threads()]
    words = {frame + python.layout.previous_frame: frame for frame in firsts}

    changed = Changed(memory, words)
    waits = read_waits(find_python(changed, core), core)

    assert {wait.lock.owner for wait in waits if wait.lock.kind == "RLock"} != {None}


def test_a_freed_lock_is_not_waited_for(dumped):
    """A reference count of 0 is that of a lock whose memory may be another's."""
    core, memory, told = dumped
    changed = Changed(memory, {told["locks"]["locks-0"]: 0})

    waits = read_waits(find_python(changed, core), core)

    assert told["threads"]["locks-0"] not in {wait.tid for wait in waits}
    assert len(find_deadlocks(waits)) == 8


@pytest.mark.parametrize("word", [0x1_0000_0001, 0])
def test_a_thread_that_is_being_woken_does_not_wait(dumped, word):
    """The semaphore is free, or counts nobody that waits."""
    core, memory, told = dumped
    semaphore = memory.word(told["locks"]["rlocks-0"] + 16)

    waits = read_waits(find_python(Changed(memory, {semaphore: word}), core), core)

    assert told["threads"]["rlocks-0"] not in {wait.tid for wait in waits}
    assert len(find_deadlocks(waits)) == 8


class Seen:
    """A core, but for what is said of it here."""

    def __init__(self, core, **others):
        self._core = core
        vars(self).update(others)

    def __getattr__(self, name):
        return getattr(self._core, name)


def with_operation(core, operation):
    """Return the core with that operation of futex(2) in the registers of every thread."""

    def changed(data):
        changed = bytearray(data)
        struct.pack_into("<Q", changed, 112 + 13 * 8, operation)
        return bytes(changed)

    return Seen(core, thread_states=tuple(map(changed, core.thread_states)))


@pytest.mark.parametrize(
    ("operation", "count"),
    [(0, 17), (9, 17), (9 | 128, 17), (9 | 256 | 128, 17), (1 | 128, 0), (3, 0), (2**63, 17)],
)
def test_only_waiting_is_waiting(dumped, operation, count):
    """A thread that wakes those that wait has the same semaphore in its registers."""
    core, memory, _ = dumped

    waits = read_waits(find_python(memory, core), with_operation(core, operation))

    assert len(waits) == count


def test_short_registers_are_unknown(dumped):
    """A note may have any length."""
    core, memory, _ = dumped
    short = tuple(data[:300] for data in core.thread_states)

    assert read_waits(find_python(memory, core), Seen(core, thread_states=short)) == ()


@pytest.mark.parametrize(
    "others",
    [
        {"machine": "EM_AARCH64"},
        {"mapped_ranges": (FileMapping("/lib/ld-musl-x86_64.so.1", 0, 4096, 0),)},
        {"mapped_ranges": ()},
    ],
)
def test_another_machine_or_libc_is_unsupported(dumped, others):
    """Its locks are other ones."""
    core, memory, _ = dumped

    with pytest.raises(IntegrityError, match="unsupported: locks are known of"):
        read_waits(find_python(memory, core), Seen(core, **others))


def test_an_owner_that_is_gone_is_said_to_be(dumped):
    """No thread has the identity that an RLock names."""
    core, memory, told = dumped
    changed = Changed(memory, {told["locks"]["rlocks-0"] + 24: 0x7F0000000000})

    waits = {w.tid: w.lock for w in read_waits(find_python(changed, core), core)}

    lock = waits[told["threads"]["rlocks-0"]]
    assert (lock.owner, lock.known_by, lock.is_owner_gone) == (None, "record", True)


def test_an_identity_of_absurd_length_is_unknown(dumped):
    """The int that a Thread has for it says that it has billions of digits."""
    core, memory, told = dumped
    python = find_python(memory, core)
    joins = told["threads"]["joins-0"]
    waits = {wait.tid: wait.lock for wait in read_waits(python, core)}
    identity = Values(python).attributes(waits[joins].address)["_ident"]

    changed = find_python(Changed(memory, {identity + 16: 1 << 60}), core)
    lock = {wait.tid: wait.lock for wait in read_waits(changed, core)}[joins]

    assert waits[joins].owner == told["threads"]["joins-1"]
    assert (lock.kind, lock.owner, lock.is_owner_gone) == ("Thread", None, False)


def test_a_thread_that_has_just_got_its_lock_does_not_wait(dumped):
    """An RLock names as its owner the thread that seems to wait for it."""
    core, memory, told = dumped
    python = find_python(memory, core)
    tid = told["threads"]["rlocks-0"]
    state = next(state for state in python.threads() if state.tid == tid)
    identity = memory.word(state.address + python.layout.native_id - 8)
    changed = Changed(memory, {told["locks"]["rlocks-0"] + 24: identity})

    waits = read_waits(find_python(changed, core), core)

    assert tid not in {wait.tid for wait in waits}
    assert len(find_deadlocks(waits)) == 8


def waits_of(*pairs, forever=True):
    """Return waits of threads for locks whose owners are these."""
    return [
        Wait(
            tid=tid,
            lock=Lock(
                address=tid * 64,
                kind="Lock",
                type_name="_thread.lock",
                module=None,
                owner=owner,
                known_by="with",
                is_owner_gone=False,
            ),
            forever=forever,
            within=None,
        )
        for tid, owner in pairs
    ]


@pytest.mark.parametrize(
    ("pairs", "cycles"),
    [
        ([], []),
        ([(1, None)], []),
        ([(1, 2)], []),
        ([(1, 2), (2, 1)], [[1, 2]]),
        ([(1, 2), (2, 3), (3, 2), (4, 1)], [[2, 3]]),
        ([(1, 2), (2, 1), (3, 4), (4, 5), (5, 3)], [[1, 2], [3, 4, 5]]),
        ([(0, None), (1, 0)], []),
    ],
)
def test_each_cycle_is_one_deadlock(pairs, cycles):
    """Threads that only wait for one of it are not of it."""
    found = find_deadlocks(waits_of(*pairs))

    assert [[wait.tid for wait in cycle] for cycle in found] == cycles


def test_a_long_chain_is_followed_in_one_pass():
    """Each thread waits for the next one, and the last for the first."""
    count = 1 << 16

    (cycle,) = find_deadlocks(waits_of(*((n, n % count + 1) for n in range(1, count + 1))))

    assert len(cycle) == count


def test_a_time_limit_ends_a_cycle():
    """Somebody gives up."""
    first = waits_of((1, 2))
    second = waits_of((2, 1), forever=False)

    assert find_deadlocks([*first, *second]) == ()
