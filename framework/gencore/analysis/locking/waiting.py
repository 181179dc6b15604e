"""Finds what a thread that sleeps in futex(2) waits for: a lock, or what is built on locks.

Up to 3.13 a lock is a semaphore of the C library, on which a thread sleeps. From 3.14 on it is a
byte of the object, and a thread sleeps in the parking lot of Python/parking_lot.c: on the
semaphore of a ``struct wait_entry`` on its own stack, whose word before has the byte's address.
The parking lot of 3.13 serves queues and the ends of threads alone. What is built of locks in
Python is known by the functions that wait, whose first argument it is. The main thread waits for
the ends of others when the program has ended, without such a function.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import Final, Literal

import attrs

from gencore.analysis.inspection.known_types import KnownTypes
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python, ThreadState
from gencore.analysis.threads.frame_values import FrameValues
from gencore.analysis.threads.thread_names import threads_by_end

__all__ = ["Kind", "Reason", "ReasonReader", "waits_in"]

Kind = Literal[
    "Lock",
    "RLock",
    "Condition",
    "Event",
    "Semaphore",
    "Barrier",
    "Queue",
    "Future",
    "Thread",
    "module lock",
    "GIL",
]

_BY_TYPE: Final[Mapping[str | None, Kind]] = {
    "_thread.lock": "Lock",
    "_thread.RLock": "RLock",
    "_queue.SimpleQueue": "Queue",
}
_BOUND: Final = ("builtin_function_or_method", "builtin_method")
_BY_FUNCTION: Final[Mapping[str, Mapping[str, Kind]]] = {
    "/threading.py": {
        "Condition.wait": "Condition",
        "Condition.wait_for": "Condition",
        "Event.wait": "Event",
        "Semaphore.acquire": "Semaphore",
        "Barrier._enter": "Barrier",
        "Barrier._wait": "Barrier",
        "Barrier.wait": "Barrier",
        "Thread._wait_for_tstate_lock": "Thread",
        "Thread.join": "Thread",
    },
    "/queue.py": {"Queue.get": "Queue", "Queue.put": "Queue", "Queue.join": "Queue"},
    "/concurrent/futures/_base.py": {"Future.result": "Future", "Future.exception": "Future"},
    "<frozen importlib._bootstrap>": {"_ModuleLock.acquire": "module lock"},
}
"""By the end of the file's name, and the qualified name: each waits for its first argument."""
_GUARDS: Final = ("_lock", "lock")
"""Attributes of these: a lock that guards the rest, and is not what they wait for."""
_MOST_BUILT: Final = 8
"""Frames of such functions in a row."""
_PARKING: Final = 13
_MUTEXES: Final = 14
"""Minor versions from which on there is a parking lot, and all locks use it."""
_SEMAPHORE_AT, _MUTEX_AT = 16, 16
"""In a lock, until 3.13 and later; in a SimpleQueue too."""
_SELF_AT: Final = 24
"""In a bound method of a built-in type."""
_VALUE: Final = 0xFFFFFFFF
"""Of the first word of a ``sem_t``; the other half is the number of those that wait."""


@attrs.frozen
class Reason:
    """What a thread waits for."""

    address: int
    kind: Kind
    within: str | None = None
    """The function of the standard library that waits, as ``Queue.get``."""


def waits_in(file: str) -> bool:
    """Whether a file is of the standard library's modules whose functions wait."""
    return file.endswith(tuple(_BY_FUNCTION))


def _kind_of(function: str, file: str) -> Kind | None:
    kinds = (kinds for end, kinds in _BY_FUNCTION.items() if file.endswith(end))
    return next(kinds, {}).get(function)


class ReasonReader:
    """Reads what threads wait for."""

    def __init__(self, python: Python, values: Values, frames: FrameValues) -> None:
        self._python, self._memory = python, python.memory
        self._values, self._frames = values, frames
        self._types = KnownTypes(python.memory, {*filter(None, _BY_TYPE), *_BOUND})

    def of(self, state: ThreadState, semaphore: int) -> Reason | None:
        """Return what a thread that sleeps on a semaphore waits for; None if on no such thing.

        Raises `AbsentMemory` if that is uncertain.
        """
        if self._python.is_of_gil(state.interpreter, semaphore):
            return Reason(self._python.gil_of(state.interpreter), "GIL")
        word = self._memory.word(semaphore)
        if word & _VALUE or not word > _VALUE:
            return None  # it is free, or nobody waits
        return self._parked(state, semaphore) or self._in_frame(state, semaphore)

    def _parked(self, state: ThreadState, semaphore: int) -> Reason | None:
        if self._python.minor < _PARKING:
            return None
        with suppress(AbsentMemory):
            parked = self._memory.word(semaphore - 8)
            if end := self._end_of_thread(parked):
                return self._built_on(state, end)
            thing = parked - _MUTEX_AT
            kind = _BY_TYPE.get(self._types.of(thing))
            if kind is not None and (kind == "Queue" or self._python.minor >= _MUTEXES):
                return self._built_on(state, Reason(thing, kind))
        return None

    def _in_frame(self, state: ThreadState, semaphore: int) -> Reason | None:
        """Return what the innermost frame has that waits there."""
        frame = next(self._python.frames(state), None)
        code = self._frames.code(frame) if frame is not None else None
        if frame is None or code is None:
            return None
        variables = self._frames.variables(frame, code)
        for slot in (*variables, *self._frames.stack(frame, code)):
            thing = self._bound_to(slot) or slot
            kind = self._types.of(thing)
            if kind in _BY_TYPE and self._memory.word(thing + _SEMAPHORE_AT) == semaphore:
                lock = self._end_of_thread(thing) or Reason(thing, _BY_TYPE[kind])
                return self._built_on(state, lock)
        for variable in filter(None, variables):
            self._memory.word(variable)  # what is missing might be the lock
        return None

    def _end_of_thread(self, awaited: int) -> Reason | None:
        thread = self._by_end.get(awaited)
        return None if thread is None else Reason(thread, "Thread", "_shutdown")

    @cached_property
    def _by_end(self) -> dict[int, int]:
        return threads_by_end(self._python)

    def _bound_to(self, thing: int) -> int | None:
        return self._memory.word(thing + _SELF_AT) if self._types.of(thing) in _BOUND else None

    def _built_on(self, state: ThreadState, lock: Reason) -> Reason:
        """Return what the thread waits for by means of that lock."""
        found = lock
        with suppress(AbsentMemory):
            for thing, kind, function in islice(self._built(state), _MOST_BUILT):
                if found is lock and self._guards(thing, lock.address):
                    return lock
                found = Reason(thing, kind, function)
        return found

    def _built(self, state: ThreadState) -> Iterator[tuple[int, Kind, str]]:
        """Yield the first argument of each frame as long as they are known functions."""
        for frame in self._python.frames(state):
            code = self._frames.code(frame)
            if code is None:
                continue
            function, file = self._frames.function(code)
            kind = _kind_of(function, file)
            arguments = self._frames.variables(frame, code)
            if kind is None or not arguments:
                return
            yield arguments[0], kind, function

    def _guards(self, thing: int, lock: int) -> bool:
        """Whether a lock only guards what a thing that waits has."""
        attributes = self._values.attributes(thing)
        return lock in (attributes.get(name) for name in _GUARDS)
