"""Says whether a thread's frames lead to a lock that its identity is recorded in.

An identity is that of a thread as long as it lives, and then of another one. So the record of a
lock whose owner has ended, or was left behind by a fork, may name a thread that has nothing to do
with it; one that has entered the lock, or acquired it by a variable, an attribute of one, or a
global name, leads to it. One that imports a module is in the ``with`` block of what has its lock.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python, ThreadState
from gencore.analysis.threads.frame_values import FrameValues

__all__ = ["leads_to"]

_MOST_FRAMES, _MOST_NAMES = 1 << 10, 1 << 12
_SELF_AT: Final = (24, 16)
"""In a bound method of a built-in type the object; in a cell, and of Python's methods."""
_INSTANCE_AT: Final = 24
"""In a bound method of a Python class."""


def leads_to(
    python: Python, values: Values, frames: FrameValues, state: ThreadState, lock: int
) -> bool:
    """Whether a frame of a thread has a lock: on the stack, in a variable, or one step further."""
    seen: set[int] = set()
    for frame in islice(python.frames(state), _MOST_FRAMES):
        with suppress(AbsentMemory):
            if lock in _near(python, values, frames, frame, seen):
                return True
    return False


def _near(
    python: Python, values: Values, frames: FrameValues, frame: int, seen: set[int]
) -> Iterator[int]:
    """Yield what a frame has, and what that has, unless it was seen before."""
    code = frames.code(frame)
    if code is None:
        return
    for thing in (*frames.variables(frame, code), *frames.kept(frame, code)):
        if thing and thing not in seen:
            seen.add(thing)
            yield thing
            yield from _inside(python, values, thing)
    names = python.memory.word(frame + python.layout.globals_of_frame)
    if names not in seen:
        seen.add(names)
        yield from (value for _, value in values.items(names, _MOST_NAMES))


def _inside(python: Python, values: Values, thing: int) -> Iterator[int]:
    with suppress(AbsentMemory):
        yield from (python.memory.word(thing + at) for at in _SELF_AT)
    with suppress(AbsentMemory):
        is_method = values.type_name(thing) == "method"
        instance = python.memory.word(thing + _INSTANCE_AT) if is_method else thing
        yield from values.attributes(instance).values()
