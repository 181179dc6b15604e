"""Finds the lock that each thread of a dumped process waits for, its owner, and deadlocks.

A thread waits for the lock whose semaphore is the argument of its system call, and which its
innermost frame has. An RLock has its owner. A Lock has none, but the frame of ``with lock:`` keeps
the lock's bound ``__exit__`` while the block runs, and the code's exception table says of which
values of the stack that is sure. Everything else is unknown: a Lock that was acquired without
``with``, or that a suspended generator holds. One that its own block releases by hand cannot be
recognised, but for `threading.Condition.wait`.
"""

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, Literal

import attrs

from gencore.analysis.exception_table import depth_at
from gencore.analysis.memory import AbsentMemory
from gencore.analysis.objects import read_bytes, read_text, type_name
from gencore.analysis.python import Python, ThreadState
from gencore.analysis.stacks import registers_of
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

__all__ = ["Lock", "Wait", "find_deadlocks", "read_waits"]

_VERSIONS: Final = range(11, 14)
"""Of Python 3. Later ones have locks without semaphores."""
_GLIBC: Final = re.compile(r"/libc(\.so\.6|-2\.\d+\.so)$")
_REGISTERS: Final = struct.Struct("<112x27Q")
"""``struct elf_prstatus`` of a 64-bit kernel, up to ``struct user_regs_struct`` of x86-64."""
_R10, _RSI, _RDI = 7, 13, 14
"""The fourth, second and first argument of a system call."""
_COMMAND: Final = 0x7F
"""Of the second argument of futex(2); the other bits are flags."""
_WAITS: Final = (0, 9)
"""``FUTEX_WAIT``, ``FUTEX_WAIT_BITSET``: another thread may be about to wake those that wait."""
_VALUE: Final = 0xFFFFFFFF
"""Of the first word of a ``sem_t``; the other half is the number of those that wait."""
_SEMAPHORE_AT, _OWNER_AT, _COUNT_AT = 16, 24, 32
"""In a lock; the last two only in an RLock."""
_METHOD_AT, _SELF_AT = 16, 24
"""In a bound method of a built-in type; its ``PyMethodDef`` begins with its name."""
_IDENT_BEFORE_TID: Final = 8
"""Bytes by which ``thread_id`` comes before ``native_thread_id`` in a ``PyThreadState``."""
_OF_C: Final = 3
"""``FRAME_OWNED_BY_CSTACK``: it has no code."""
_BOUND, _CODE = "builtin_function_or_method", "code"
_KINDS: Final[Mapping[str | None, Literal["Lock", "RLock"]]] = {
    "_thread.lock": "Lock",
    "_thread.RLock": "RLock",
}
_RELEASES: Final = "Condition.wait"
_MOST_THREADS, _MOST_FRAMES, _MOST_SLOTS, _LONGEST_TABLE = 1 << 16, 1 << 20, 1 << 12, 1 << 16
"""Frames are those of all threads, slots those of one frame; the table is in bytes."""


@attrs.frozen(kw_only=True)
class Lock:
    """A lock that some thread waits for."""

    address: int
    kind: Literal["Lock", "RLock"]
    owner: int | None
    """The tid of the thread that holds it; None if it is unknown."""
    known_by: Literal["record", "with"] | None
    """An RLock's own record of its owner, or the ``with`` block that the owner is in."""


@attrs.frozen(kw_only=True)
class Wait:
    """A thread that waits for a lock."""

    tid: int
    lock: Lock
    forever: bool
    """False if it waits with a time limit, after which it may do something else."""


def read_waits(python: Python, core: CoreFile) -> tuple[Wait, ...]:
    """Return the threads that wait for a Lock or an RLock, as far as it is certain, in core order.

    Raises `IntegrityError` unless it is CPython 3.11 to 3.13 with glibc on x86-64, and
    `AbsentMemory` if none is found and what threads wait for is missing, as in cores of the
    content ``stacks``.
    """
    libc = any(_GLIBC.search(row.path) for row in core.mapped_ranges)
    if core.machine != "EM_X86_64" or not libc or python.minor not in _VERSIONS:
        raise IntegrityError(
            "unsupported: locks are known of CPython 3.11 to 3.13 with glibc on x86-64"
        )
    reader = _Reader(python)
    places = {tid: place for place, tid in enumerate(core.thread_ids)}
    states = sorted(
        islice(python.threads(), _MOST_THREADS),
        key=lambda state: places.get(state.tid, len(places)),
    )
    calls = _waiting_calls(registers_of(core))
    found, missing = {}, None
    for state in states:
        semaphore, _ = calls.get(state.tid, (0, False))
        try:
            if semaphore and (lock := reader.awaited(state, semaphore)):
                found[state.tid] = lock
        except AbsentMemory as error:
            missing = error
    if missing and not found:
        raise missing
    owners = _Owners(reader, states, {tid: address for tid, (address, _) in found.items()})
    waits = (
        Wait(tid=tid, lock=owners.lock(*lock), forever=calls[tid][1])
        for tid, lock in found.items()
    )
    return tuple(wait for wait in waits if wait.lock.owner != wait.tid)  # else it has just got it


def find_deadlocks(waits: Iterable[Wait]) -> tuple[tuple[Wait, ...], ...]:
    """Return each circle of threads of which one holds what the one before it waits for.

    A thread that waits with a time limit is in none.
    """
    waiting = {wait.tid: wait for wait in waits if wait.forever}
    seen: set[int] = set()
    circles = []
    for tid in waiting:
        path: list[Wait] = []
        at: int | None = tid
        while at in waiting and at not in seen:
            seen.add(at)
            path.append(waiting[at])
            at = path[-1].lock.owner
        begins = next((index for index, wait in enumerate(path) if wait.tid == at), None)
        if begins is not None:
            circles.append(tuple(path[begins:]))
    return tuple(circles)


def _waiting_calls(registers: Mapping[int, bytes]) -> dict[int, tuple[int, bool]]:
    """Return what each thread in futex(2) waits for, and whether it does without a time limit."""
    calls = {}
    for tid, data in registers.items():
        if len(data) >= _REGISTERS.size:
            values = _REGISTERS.unpack_from(data)
            if values[_RSI] & _COMMAND in _WAITS:
                calls[tid] = values[_RDI], not values[_R10]
    return calls


class _Reader:
    """Reads locks out of the frames of threads."""

    def __init__(self, python: Python) -> None:
        self.python, self._memory, self._layout = python, python.memory, python.layout
        self._types: dict[int, str | None] = {}
        self._left = _MOST_FRAMES

    def awaited(
        self, state: ThreadState, semaphore: int
    ) -> tuple[int, Literal["Lock", "RLock"]] | None:
        """Return the lock of a thread's innermost frame that has this semaphore, and its kind.

        None if it waits for something else. Raises `AbsentMemory` if that is uncertain.
        """
        word = self._memory.word(semaphore)
        if word & _VALUE or not word > _VALUE:
            return None  # it is free, or nobody waits
        frame = next(self.python.frames(state), None)
        for slot in self._slots(frame) if frame else ():
            lock = self._bound_to(slot) or slot
            kind = _KINDS.get(self._type(lock))
            if kind and self._memory.word(lock + _SEMAPHORE_AT) == semaphore:
                return lock, kind
        for variable in self._variables(frame) if frame else ():
            if variable:
                self._memory.word(variable)
        return None

    def entered(self, state: ThreadState) -> Iterator[int]:
        """Yield each Lock in whose ``with`` block a thread is."""
        with suppress(AbsentMemory):
            for frame in self.python.frames(state):
                if not self._left:
                    return
                self._left -= 1
                code = self._code(frame)
                if code and self._function(code) == _RELEASES:
                    return  # of which of the outer ones is not looked at
                for slot in self._surely_on_stack(frame, code) if code else ():
                    lock = self._bound_to(slot, b"__exit__")
                    if lock and _KINDS.get(self._type(lock)) == "Lock":
                        yield lock

    def record(self, lock: int) -> int:
        """Return the identity of the thread that an RLock names as its owner; 0 if it does not."""
        with suppress(AbsentMemory):
            if self._memory.word(lock + _COUNT_AT):
                return self._memory.word(lock + _OWNER_AT)
        return 0

    def identity(self, state: ThreadState) -> int:
        """Return a thread's ``threading.get_ident()``; 0 if it is missing."""
        with suppress(AbsentMemory):
            at = state.address + self._layout.native_id - _IDENT_BEFORE_TID
            return self._memory.word(at)
        return 0

    def _code(self, frame: int) -> int | None:
        if self._memory.number(frame + self._layout.owner_of_frame, 1) >= _OF_C:
            return None
        code = self._memory.word(frame + self._layout.code_of_frame)
        return code if self._type(code) == _CODE else None

    def _function(self, code: int) -> str:
        name = self._memory.word(code + self._layout.qualified_name_of_code)
        return read_text(self._memory, self._layout, name)

    def _slots(self, frame: int) -> tuple[int, ...]:
        """Return the local variables and the stack of a frame, stale values included."""
        code = self._code(frame)
        if code is None:
            return ()
        size = self._size(code + self._layout.stack_of_code)
        return self._words(frame, 0, self._size(code + self._layout.slots_of_code) + size)

    def _variables(self, frame: int) -> tuple[int, ...]:
        code = self._code(frame)
        size = self._size(code + self._layout.slots_of_code) if code else 0
        return self._words(frame, 0, size)

    def _surely_on_stack(self, frame: int, code: int) -> tuple[int, ...]:
        """Return the values that the handler of the running instruction keeps on the stack."""
        layout, memory = self._layout, self._memory
        at = memory.word(frame + layout.instruction_of_frame) - code - layout.instructions_of_code
        table = read_bytes(memory, memory.word(code + layout.handlers_of_code))
        depth = depth_at(table[:_LONGEST_TABLE], at)
        depth = min(depth, self._size(code + layout.stack_of_code))
        return self._words(frame, self._size(code + layout.slots_of_code), depth)

    def _size(self, address: int) -> int:
        return min(max(0, self._memory.number(address, 4)), _MOST_SLOTS)

    def _words(self, frame: int, first: int, count: int) -> tuple[int, ...]:
        begin = frame + self._layout.locals_of_frame + first * 8
        return struct.unpack(f"<{count}Q", self._memory.read(begin, count * 8))

    def _bound_to(self, thing: int, name: bytes | None = None) -> int | None:
        """Return the object of a bound method of a built-in type, of that name if one is given."""
        if self._type(thing) != _BOUND:
            return None
        word = self._memory.word
        if name is not None and self._memory.string(word(word(thing + _METHOD_AT))) != name:
            return None
        return word(thing + _SELF_AT)

    def _type(self, thing: int) -> str | None:
        """Return the name of an object's type if it is one of those that matter here.

        None too if it was freed, or if it is no object.
        """
        try:
            if not thing or thing % 8 or not self._memory.word(thing):
                return None
            of = self._memory.word(thing + 8)
            if of not in self._types:
                name = type_name(self._memory, thing)
                self._types[of] = name if name in {*_KINDS, _BOUND, _CODE} else None
        except AbsentMemory:
            return None
        return self._types[of]


class _Owners:
    """Who holds the locks that are waited for."""

    def __init__(
        self, reader: _Reader, states: Iterable[ThreadState], awaited: Mapping[int, int]
    ) -> None:
        """Look at every thread; *awaited* has the lock that each waiting one waits for, by tid."""
        self._reader = reader
        self._tids = {reader.identity(state): state.tid for state in states}
        self._inside: dict[int, set[int]] = defaultdict(set)
        locks = set(awaited.values())
        for state in states if locks else ():
            for lock in locks.intersection(reader.entered(state)):
                if awaited.get(state.tid) != lock:
                    self._inside[lock].add(state.tid)

    def lock(self, address: int, kind: Literal["Lock", "RLock"]) -> Lock:
        if kind == "RLock":
            identity = self._reader.record(address)
            owner = self._tids.get(identity) if identity else None
            how: Literal["record", "with"] = "record"
        else:
            inside = self._inside[address]
            owner = next(iter(inside)) if len(inside) == 1 else None
            how = "with"
        known_by = how if owner is not None else None
        return Lock(address=address, kind=kind, owner=owner, known_by=known_by)
