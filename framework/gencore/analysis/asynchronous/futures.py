"""Reads asyncio's futures and tasks in a dumped process: those made in C, and in Python."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import attrs

from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.layouts import FUTURES
from gencore.analysis.interpreter.python import Python

__all__ = ["Future", "FutureReader"]

State = Literal["pending", "cancelled", "finished"]

_IN_C: Final = {"_asyncio.Future", "_asyncio.Task"}
_TASK_IN_C: Final = "_asyncio.Task"
_STATES: Final[tuple[State, ...]] = ("pending", "cancelled", "finished")
"""``fut_state`` of Modules/_asynciomodule.c; asyncio/base_futures.py has their names."""
_OF_EACH: Final = {"_loop", "_callbacks"}
"""Attributes that a future in Python has, by which it is known."""
_MOST_CALLBACKS: Final = 1 << 16
_LONGEST_NAME: Final = 200


@attrs.frozen(kw_only=True)
class Future:
    """A future, or a task."""

    address: int
    is_task: bool
    loop: int
    state: State
    exception: int
    """With which it has finished; 0 if there is none."""
    callbacks: tuple[int, ...]
    """What is called when it is done."""
    awaited: int
    """What the task waits for; 0 if it does not wait. This and what follows is of tasks."""
    coroutine: int
    name: str
    cancel_requests: int


class FutureReader:
    """Reads futures and tasks."""

    def __init__(self, python: Python, values: Values) -> None:
        """Read from a Python's memory."""
        self._memory, self._values = python.memory, values
        self._layout = FUTURES[python.minor]

    def read(self, address: int) -> Future | None:
        """Return the future at an address; None if something else is there.

        Raises `AbsentMemory`.
        """
        lineage = set(self._values.type_of(address).lineage)
        if lineage & _IN_C:
            return self._in_c(address, is_task=_TASK_IN_C in lineage)
        if not self._values.type_of(address).is_built_in:
            attributes = self._values.attributes(address)
            if attributes.keys() >= _OF_EACH:
                return self._in_python(address, attributes)
        return None

    def _in_c(self, address: int, *, is_task: bool) -> Future:
        layout, word = self._layout, self._memory.word
        state = self._memory.number(address + layout.state, 4)
        return Future(
            address=address,
            is_task=is_task,
            loop=word(address + layout.loop),
            state=_STATES[state] if 0 <= state < len(_STATES) else "pending",
            exception=self._object(word(address + layout.exception)),
            callbacks=tuple(self._callbacks_in_c(address)),
            awaited=self._object(word(address + layout.awaited)) if is_task else 0,
            coroutine=self._object(word(address + layout.coroutine)) if is_task else 0,
            name=self._name(word(address + layout.name)) if is_task else "",
            cancel_requests=self._requests(address) if is_task else 0,
        )

    def _callbacks_in_c(self, address: int) -> Iterator[int]:
        if first := self._memory.word(address + self._layout.first_callback):
            yield first
        if more := self._memory.word(address + self._layout.more_callbacks):
            yield from self._listed(more)

    def _listed(self, callbacks: int) -> Iterator[int]:
        """Yield the first of each pair in a list, of which the second is a context."""
        for _, pair in self._values.items(callbacks, _MOST_CALLBACKS):
            yield from (thing for _, thing in self._values.items(pair, 1))

    def _requests(self, address: int) -> int:
        return max(0, self._memory.number(address + self._layout.cancel_requests, 4))

    def _in_python(self, address: int, attributes: Mapping[str, int]) -> Future:
        def get(name: str) -> int:
            return self._object(attributes.get(name, 0))

        state = self._shown(get("_state")).strip("'").lower()
        return Future(
            address=address,
            is_task="_coro" in attributes,
            loop=get("_loop"),
            state=next((known for known in _STATES if known == state), "pending"),
            exception=get("_exception"),
            callbacks=tuple(self._listed(attributes["_callbacks"])),
            awaited=get("_fut_waiter"),
            coroutine=get("_coro"),
            name=self._name(get("_name")),
            cancel_requests=self._number(get("_num_cancels_requested")),
        )

    def _object(self, address: int) -> int:
        """Return an address, or 0 if it is that of None."""
        if address and self._values.type_of(address).name == "NoneType":
            return 0
        return address

    def _name(self, address: int) -> str:
        """Return a task's name, which from 3.12 on is a number until somebody asks for it."""
        if not address:
            return ""
        if "str" in self._values.type_of(address).lineage:
            return self._values.text(address, _LONGEST_NAME)
        return f"Task-{self._shown(address)}"

    def _number(self, address: int) -> int:
        shown = self._shown(address)
        return int(shown) if shown.isdecimal() else 0

    def _shown(self, address: int) -> str:
        return self._values.show(address, 20) if address else ""
