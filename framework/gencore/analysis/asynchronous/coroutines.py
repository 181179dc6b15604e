"""Follows each coroutine of a dumped process through what it awaits, to the innermost frame.

The frame of a coroutine lies inside of it. While it is suspended in an ``await``, the last value
on the frame's stack is what it awaits; while it runs, its frame is among those of a thread.
"""

from typing import Final, Literal

import attrs

from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["Chain", "CoroutineReader"]

State = Literal["created", "running", "suspended", "ended"]

_WITH_FRAME: Final = {"coroutine", "generator", "async_generator"}
_TO_THE_NEXT: Final = {
    "coroutine_wrapper",
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
}
"""Objects that have what is awaited through them as their first member: Objects/genobject.c."""
_FUTURE_ITERATOR: Final = "_asyncio.FutureIter"
"""It has its future there, too."""
_FIRST_MEMBER_AT: Final = 16
_RESUMES_AFTER_YIELD: Final = 1
"""The argument of RESUME is larger after ``yield from`` and ``await``: see the ``dis`` module."""
_ARGUMENT_AT: Final = 3
"""Of the instruction after the current one, which has two bytes."""
_POINTER_SINCE: Final = 14
"""The minor version from which on a frame has the end of its stack as a pointer."""
_AWAITED_AT: Final = {15: -16}
_AWAITED_AT_ELSE: Final = -8
"""From the end of the stack of a frame, which since 3.15 has NULL behind what it awaits."""
_DEEPEST: Final = 1 << 12
_MOST_SLOTS: Final = 1 << 12


@attrs.frozen(kw_only=True)
class Chain:
    """A coroutine and what it awaits: another one, what that awaits, and so on."""

    state: State
    """Of the first one."""
    frames: tuple[int, ...]
    """Their addresses, outermost first; of a running one, only those that are known from it."""
    awaited: int | None
    """What the innermost one awaits, which has no frame."""
    incomplete: str | None
    """Why inner frames may be missing; None if it is complete."""


class CoroutineReader:
    """Reads coroutines, generators and asynchronous generators."""

    def __init__(self, python: Python, values: Values) -> None:
        """Read from a Python's memory."""
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._values = values

    def chain(self, coroutine: int) -> Chain:
        """Follow a coroutine."""
        frames: list[int] = []
        states: list[State] = []
        seen: set[int] = set()
        at: int | None = coroutine
        incomplete = None
        try:
            while at is not None and (kind := self._kind(at)) is not None:
                if at in seen or len(frames) >= _DEEPEST:
                    incomplete, at = "the coroutines await each other without end", None
                    break
                seen.add(at)
                if kind in _WITH_FRAME:
                    frames.append(at + self._layout.frame_of_generator)
                    states.append(self._state(at))
                at = self._next(at, kind)
        except AbsentMemory as error:
            incomplete, at = str(error), None
        if not states and incomplete is None:
            incomplete = "the coroutine is of an unknown type"
        ended = bool(states) and states[0] == "ended"
        return Chain(
            state=states[0] if states else "suspended",
            frames=() if ended else tuple(frames),
            awaited=at,
            incomplete=incomplete,
        )

    def stack(self, frame: int) -> tuple[int, ...]:
        """Return the values on the stack of a suspended frame. Raises `AbsentMemory`."""
        first, end = self._stack_of(frame)
        return tuple(map(self._python.reference, range(first, end, 8)))

    def variable(self, frame: int, number: int) -> int:
        """Return the value of a frame's local variable: its arguments are the first ones."""
        return self._python.reference(frame + self._layout.locals_of_frame + 8 * number)

    def _kind(self, thing: int) -> str | None:
        """Return the name of an object's type if it leads on, else None."""
        facts = self._values.type_of(thing)
        kind = facts.lineage[0] if facts.is_built_in else ""
        known = kind in _WITH_FRAME or kind in _TO_THE_NEXT or kind == _FUTURE_ITERATOR
        return kind if known else None

    def _next(self, thing: int, kind: str) -> int | None:
        if kind not in _WITH_FRAME:
            return self._memory.word(thing + _FIRST_MEMBER_AT) or None
        return self._awaited_by(thing) if self._state(thing) == "suspended" else None

    def _state(self, generator: int) -> State:
        layout = self._layout
        state = self._memory.number(generator + layout.state_of_generator, 1)
        if state == layout.created_state:
            return "created"
        if state == layout.executing_state:
            return "running"
        return "suspended" if state < layout.executing_state else "ended"

    def _awaited_by(self, generator: int) -> int | None:
        """Return what a suspended one awaits; None if it has yielded."""
        frame = generator + self._layout.frame_of_generator
        if not self._is_awaiting(generator, frame):
            return None
        first, end = self._stack_of(frame)
        at = end + _AWAITED_AT.get(self._python.minor, _AWAITED_AT_ELSE)
        return self._python.reference(at) if at >= first else None

    def _is_awaiting(self, generator: int, frame: int) -> bool:
        layout = self._layout
        if layout.awaiting_state is not None:
            state = self._memory.number(generator + layout.state_of_generator, 1)
            return state >= layout.awaiting_state
        instruction = self._memory.word(frame + layout.instruction_of_frame)
        return self._memory.number(instruction + _ARGUMENT_AT, 1) > _RESUMES_AFTER_YIELD

    def _stack_of(self, frame: int) -> tuple[int, int]:
        """Return where a suspended frame's stack begins and ends."""
        layout, memory = self._layout, self._memory
        code = self._python.reference(frame + layout.code_of_frame)
        slots = frame + layout.locals_of_frame
        count = min(max(0, memory.number(code + layout.slots_of_code, 4)), _MOST_SLOTS)
        first = slots + 8 * count
        if self._python.minor >= _POINTER_SINCE:
            end = memory.word(frame + layout.top_of_frame)
        else:
            end = slots + 8 * memory.number(frame + layout.top_of_frame, 4)
        return first, min(max(first, end), first + 8 * _MOST_SLOTS)
