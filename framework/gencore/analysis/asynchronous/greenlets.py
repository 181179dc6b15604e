"""Reads the greenlets of a dumped process, those of gevent too, with their Python stacks.

No list leads to all of them, so memory is searched for objects of their types. A suspended one has
its innermost frame, and a copy of that part of the thread's stack which others use now: from 3.12
on some of its frames, which are no function's, are in there.

Layout: TGreenlet.hpp and greenlet.h of greenlet 3, the same for each Python as far as it is read.
"""

from typing import Final, Literal

import attrs

from gencore.analysis.inspection.instances import find_instances
from gencore.analysis.inspection.modules import find_module
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.analysis.threads.stacks import Frame, StackReader

__all__ = ["Greenlet", "read_greenlets"]

State = Literal["suspended", "running", "not started", "ended"]

_MODULE, _TYPE = "greenlet", "greenlet"
_STATE_AT: Final = 32
"""In a ``PyGreenlet``: where its ``Greenlet`` is, in which the following are."""
_SELF_AT, _FRAME_AT = 8, 104
"""The object, and the frame object of its innermost frame while it is suspended."""
_BEGIN_AT, _END_AT, _COPY_AT, _SAVED_AT = 56, 64, 72, 80
"""Of the thread's stack: where it begins, 0 if it has ended, where it ends, 0 if it has not
started; where the copy is, and the copy's size."""
_MOST_FRAMES: Final = 1 << 14


@attrs.frozen(kw_only=True)
class Greenlet:
    """A greenlet at the instant of the dump."""

    address: int
    type_name: str
    state: State
    """``running`` in some thread, whose stack is its own; the main one of a thread is one, too."""
    frames: tuple[Frame, ...]
    """Innermost first; none unless it is suspended."""
    incomplete: str | None
    """Why it may lack outer frames; None if it is complete."""


def read_greenlets(python: Python) -> tuple[Greenlet, ...]:
    """Return the greenlets of a process, in order of address: none if it has not imported them.

    Raises `AbsentMemory` if the core lacks what leads to their type, and `IntegrityError` without
    numpy, of the extra ``analysis``, if there may be some.
    """
    values = Values(python)
    modules = (find_module(python, values, at, _MODULE) for at in python.interpreters())
    bases = {module[_TYPE] for module in modules if _TYPE in module}
    reader = _Reader(python, values)
    found = (reader.greenlet(address) for address in find_instances(python, values, bases))
    return tuple(greenlet for greenlet in found if greenlet is not None)


class _Reader:
    def __init__(self, python: Python, values: Values) -> None:
        self._memory, self._layout, self._values = python.memory, python.layout, values
        self._stacks = StackReader(python)

    def greenlet(self, address: int) -> Greenlet | None:
        """Return the greenlet at an address; None unless one is there."""
        word = self._memory.word
        try:
            at = word(address + _STATE_AT)
            if not word(address) or word(at + _SELF_AT) != address:
                return None
            state = self._state(at)
            frames, incomplete = self._frames(at) if state == "suspended" else ((), None)
        except AbsentMemory:
            return None
        return Greenlet(
            address=address,
            type_name=self._values.type_name(address),
            state=state,
            frames=frames,
            incomplete=incomplete,
        )

    def _state(self, at: int) -> State:
        word = self._memory.word
        if word(at + _FRAME_AT):
            return "suspended"
        if word(at + _BEGIN_AT):
            return "running"
        return "ended" if word(at + _END_AT) else "not started"

    def _frames(self, at: int) -> tuple[tuple[Frame, ...], str | None]:
        word, following = self._memory.word, self._layout.previous_frame
        start, copy, saved = (word(at + place) for place in (_BEGIN_AT, _COPY_AT, _SAVED_AT))
        frames: list[Frame] = []
        seen: set[int] = set()
        try:
            frame = word(word(at + _FRAME_AT) + self._layout.frame_of_frame_object)
            while frame and frame not in seen and len(seen) < _MOST_FRAMES:
                seen.add(frame)
                moved = copy - start if start <= frame < start + saved else 0
                if not moved and (shown := self._stacks.frame(frame)) is not None:
                    frames.append(shown)
                frame = word(frame + moved + following)
        except AbsentMemory as error:
            return tuple(frames), str(error)
        return tuple(frames), "the list of frames does not end" if frame else None
