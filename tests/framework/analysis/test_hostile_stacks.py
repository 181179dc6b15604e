"""Stacks in a core that somebody has damaged: whatever stands in it, there is an end."""

import contextlib
import json
import os
import struct
import threading

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gencore
from gencore.analysis import Memory, Piece, find_python, read_stacks
from gencore.analysis.answers import stacks
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """Return a core of this process and its tid, with files of this machine for its libraries."""
    path = gencore.create_core(directory=tmp_path_factory.mktemp("core"), content="stacks")
    with CoreFile(path) as core:
        yield core, Memory.of_core(core, path, this_machine=True), threading.get_native_id()
    path.unlink()


def test_the_stack_of_this_process_is_read(dumped):
    """Without a bundle, where this machine has the very libraries."""
    core, memory, tid = dumped

    threads = {thread.tid: thread for thread in read_stacks(find_python(memory, core), core)}

    assert {frame.function for frame in threads[tid].frames} >= {"dumped", "create_core"}
    assert threads[tid].incomplete is None


def test_a_note_without_all_registers_costs_only_the_thread_s_state(dumped, monkeypatch):
    """What has no tid is of no thread, and the next one has its own registers all the same."""
    core, memory, _ = dumped
    state = next(note for note in core.notes if note.type == "NT_PRSTATUS")
    other = struct.pack("<32xi", 7).ljust(100, b"\0")
    shorter = [attrs.evolve(state, data=data) for data in (bytes(20), other, state.data)]
    monkeypatch.setitem(vars(core), "notes", tuple(shorter))

    threads = {thread.tid: thread for thread in read_stacks(find_python(memory, core), core)}

    assert core.thread_ids == (7, struct.unpack_from("<i", state.data, 32)[0])
    assert threads[7].state is None
    assert threads[core.thread_ids[1]].state is not None


def damaged(memory, changes, kept=1.0):
    """Return the memory with some words changed, or without some of its pieces."""
    anonymous = [p for p in memory.pieces if p.writable]
    size = sum(piece.end - piece.start for piece in anonymous)
    data, pieces = bytearray(), []
    for piece in anonymous:
        pieces.append((piece, len(data)))
        data += piece.source[piece.offset : piece.offset + piece.end - piece.start]
    for at, word in changes:
        struct.pack_into("<Q", data, at % (size // 8) * 8, word)
    changed = [
        Piece(p.start, p.end, memoryview(data), offset, writable=True, path=p.path)
        for p, offset in pieces[: max(1, int(len(pieces) * kept))]
    ]
    return Memory([*changed, *(p for p in memory.pieces if not p.writable)])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(data=st.data())
def test_damaged_memory_gives_what_can_be_had(dumped, data):
    """No other error, and no endless loop: a word may be anything, or point anywhere."""
    core, memory, _ = dumped
    addresses = [address for p in memory.pieces if p.writable for address in (p.start, p.end)]
    words = st.one_of(
        st.integers(0, 2**64 - 1), st.sampled_from(addresses), st.sampled_from([0, 2**64 - 8])
    )
    changes = data.draw(st.lists(st.tuples(st.integers(0, 1 << 30), words), max_size=300))
    changed = damaged(memory, changes, data.draw(st.floats(0, 1)))

    with contextlib.suppress(IntegrityError):
        threads = read_stacks(find_python(changed, core), core)
        assert [thread.tid for thread in threads][: len(core.thread_ids)] == list(core.thread_ids)
        rows = stacks.answer(find_python(changed, core), core, "locals")
        assert json.loads(json.dumps(rows)) == rows


def test_frames_and_threads_in_a_circle_come_to_an_end(dumped):
    """The outermost frame leads to the innermost, and the last thread to the first."""
    core, memory, tid = dumped
    python = find_python(memory, core)
    state = next(state for state in python.threads() if state.tid == tid)
    frame = state.address + python.layout.frame_of_thread
    if python.layout.frame_of_c_frame is not None:
        frame = memory.word(frame) + python.layout.frame_of_c_frame
    first = memory.word(frame)
    words = {first + python.layout.previous_frame: first}
    words[state.address + python.layout.next_thread] = state.address

    pieces = []
    for piece in memory.pieces:
        data = bytearray(piece.source[piece.offset : piece.offset + piece.end - piece.start])
        for address, word in words.items():
            if piece.start <= address < piece.end:
                struct.pack_into("<Q", data, address - piece.start, word)
        whole = memoryview(data)
        pieces.append(Piece(piece.start, piece.end, whole, 0, piece.writable, piece.path))
    changed = Memory(pieces)
    threads = {t.tid: t for t in read_stacks(find_python(changed, core), core)}

    assert threads[tid].incomplete == "the list of frames does not end"
    assert len(threads[tid].frames) == 1
    assert os.getpid() in threads
