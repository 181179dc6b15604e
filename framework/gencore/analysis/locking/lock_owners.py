"""Finds the threads that hold locks.

An RLock has its owner, as a module lock and a thread to be joined have. A Lock has none, but the
frame of ``with lock:`` keeps the lock's ``__exit__`` while the block runs, and the code's
exception table says of which values of the stack that is sure. Everything else is unknown: a Lock
that was acquired without ``with``, or that a suspended generator holds. One that its own block
releases by hand cannot be recognised, but for `threading.Condition.wait`; a thread that waits for
a Lock in whose block it is itself has not released it if no function from there on names
``release``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice, pairwise
from typing import Final

from gencore.analysis.inspection.known_types import KnownTypes
from gencore.analysis.inspection.scalars import read_int
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python, ThreadState
from gencore.analysis.locking.waiting import Kind, Reason
from gencore.analysis.threads.frame_values import FrameValues

__all__ = ["OwnerReader", "holds_itself", "threads_inside"]

_OWNER_AT: Final = 24
"""In an RLock: 0 if nobody holds it."""
_OWNER_IN: Final[Mapping[Kind, str]] = {"Thread": "_ident", "module lock": "owner"}
"""Attributes."""
_IDENT_BEFORE_TID: Final = 8
"""Bytes by which ``thread_id`` comes before ``native_thread_id`` in a ``PyThreadState``."""
_METHOD_AT, _SELF_AT = 16, 24
"""In a bound method of a built-in type; its ``PyMethodDef`` begins with its name."""
_FUNCTION_AT, _INSTANCE_AT = 16, 24
"""In a bound method of a Python class."""
_DEFINITION_AT: Final = 40
"""In a method descriptor: its ``PyMethodDef``."""
_BOUND, _METHOD, _DESCRIPTOR, _FUNCTION = (
    "builtin_function_or_method",
    "method",
    "method_descriptor",
    "function",
)
_LOCK, _CONDITION = "_thread.lock", "Condition"
_RELEASES: Final = "Condition.wait"
_MOST_FRAMES: Final = 1 << 20
"""Of all threads."""


class OwnerReader:
    """Reads who holds what has a record of it."""

    def __init__(self, python: Python, values: Values) -> None:
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._values = values

    def identity_in(self, reason: Reason) -> int:
        """Return the identity of the thread that is in the record; 0 if there is none."""
        with suppress(AbsentMemory):
            if reason.kind == "RLock":
                return self._memory.word(reason.address + _OWNER_AT)
            if attribute := _OWNER_IN.get(reason.kind):
                found = self._values.attributes(reason.address).get(attribute, 0)
                if found and self._values.type_name(found) == "int":
                    return read_int(self._python, found) or 0
        return 0

    def identity(self, state: ThreadState) -> int:
        """Return a thread's ``threading.get_ident()``; 0 if it is missing."""
        with suppress(AbsentMemory):
            at = state.address + self._layout.native_id - _IDENT_BEFORE_TID
            return self._memory.word(at)
        return 0


def threads_inside(
    python: Python,
    values: Values,
    frames: FrameValues,
    states: Iterable[ThreadState],
    locks: Collection[int],
) -> defaultdict[int, set[int]]:
    """Return the tids of the threads that are in a ``with`` block of each of some Locks."""
    reader = _BlockReader(python, values, frames)
    inside: defaultdict[int, set[int]] = defaultdict(set)
    for state in states if locks else ():
        for lock in reader.entered(state):
            if lock in locks:
                inside[lock].add(state.tid)
    return inside


def holds_itself(
    python: Python, values: Values, frames: FrameValues, state: ThreadState, lock: int
) -> bool:
    """Whether a thread is in a ``with`` block of a Lock, and has not released it by hand."""
    return _BlockReader(python, values, frames).has_kept(state, lock)


class _BlockReader:
    """Reads of which Locks the frames of threads are in ``with`` blocks."""

    def __init__(self, python: Python, values: Values, frames: FrameValues) -> None:
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._values, self._frames = values, frames
        names = {_BOUND, _METHOD, _DESCRIPTOR, _FUNCTION, _LOCK, _CONDITION}
        self._types = KnownTypes(python.memory, names)
        self._left = _MOST_FRAMES

    def entered(self, state: ThreadState) -> Iterator[int]:
        """Yield each Lock in whose block a thread is, a Condition's own too."""
        released: set[int | None] = set()
        with suppress(AbsentMemory):
            for frame in self._python.frames(state):
                if not self._left:
                    return
                self._left -= 1
                code = self._frames.code(frame)
                if code is None:
                    continue
                for thing in self._kept(self._frames.kept(frame, code)):
                    lock = self._lock_of(thing)
                    if lock is not None and lock not in released:
                        yield lock
                if self._frames.function(code)[0] == _RELEASES:
                    waits = self._frames.variables(frame, code)[:1]
                    released.update(map(self._lock_of, waits))

    def has_kept(self, state: ThreadState, lock: int) -> bool:
        """Whether a thread has a Lock of whose block it is in."""
        with suppress(AbsentMemory):
            for frame in islice(self._python.frames(state), _MOST_FRAMES):
                code = self._frames.code(frame)
                if code is None:
                    continue
                if self._frames.uses_name(code, "release"):
                    return False
                things = self._kept(self._frames.kept(frame, code))
                if lock in map(self._lock_of, things):
                    return True
        return False

    def _kept(self, stack: tuple[int, ...]) -> Iterator[int]:
        """Yield the objects whose ``__exit__`` is on a stack: bound, or followed by the object."""
        word = self._memory.word
        for slot, following in pairwise((*stack, 0)):
            kind = self._types.of(slot)
            if kind == _BOUND and self._is_exit(word(slot + _METHOD_AT)):
                yield word(slot + _SELF_AT)
            elif kind == _DESCRIPTOR and self._is_exit(word(slot + _DEFINITION_AT)):
                yield following
            elif kind == _METHOD and self._types.of(word(slot + _INSTANCE_AT)) == _CONDITION:
                yield word(slot + _INSTANCE_AT)
            elif kind == _FUNCTION and self._types.of(following) == _CONDITION:
                yield following

    def _is_exit(self, definition: int) -> bool:
        return self._memory.string(self._memory.word(definition)) == b"__exit__"

    def _lock_of(self, thing: int) -> int | None:
        """Return a Lock itself, or that of a Condition."""
        kind = self._types.of(thing)
        if kind == _CONDITION:
            lock = self._values.attributes(thing).get("_lock", 0)
            return lock if self._types.of(lock) == _LOCK else None
        return thing if kind == _LOCK else None
