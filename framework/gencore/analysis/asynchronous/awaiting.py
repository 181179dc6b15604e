"""Finds which tasks each asyncio task of a dumped process waits for, through futures in between.

A task has the future that it waits for. What that one in turn waits for, as the future of
``asyncio.gather`` does for its children, is known from the other end: the children's callbacks
have it in a closure, or lead to it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from gencore.analysis.asynchronous.futures import Future, FutureReader
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["Awaiting", "Link"]

_KINDS: Final = {
    "gather.<locals>._done_callback": "gather",
    "_wait.<locals>._on_completion": "wait",
    "_release_waiter": "wait_for",
    "shield.<locals>._inner_done_callback": "shield",
    "as_completed.<locals>._on_completion": "as_completed",
    "_AsCompletedIterator._handle_completion": "as_completed",
    "TaskGroup._on_task_done": "TaskGroup",
    "TaskGroup._spawn.<locals>.task_done": "TaskGroup",
}
"""The callbacks of asyncio, and of anyio, by which something waits: their qualified names."""
_EXECUTOR: Final = "_chain_future.<locals>._call_check_cancel"
"""A callback of a future that waits for a job of an executor."""
_LEADING: Final[Mapping[str, tuple[str, ...]]] = {
    "asyncio.taskgroups.TaskGroup": ("_parent_task",),
    "asyncio.tasks._AsCompletedIterator": ("_done",),
    "asyncio.queues.Queue": ("_getters",),
    "anyio._backends._asyncio.TaskGroup": ("cancel_scope",),
    "anyio._backends._asyncio.CancelScope": ("_host_task",),
    "functools.partial": ("args",),
    "method": ("__self__",),
    "function": ("__closure__",),
}
"""Which attributes of an object lead from a callback to what waits."""
_CONTAINERS: Final = {"tuple", "collections.deque"}
_DEEPEST, _MOST_LED_TO = 6, 1 << 12
"""Objects from a callback on, in a row and together."""
_MOST_ITEMS: Final = 1 << 10
_MOST_FUTURES: Final = 1 << 21


@attrs.frozen
class Link:
    """A task that another one waits for, and by what: None if by ``await`` alone."""

    task: int
    through: str | None


class Awaiting:
    """Who waits for whom, among the tasks that are given and all that they lead to."""

    def __init__(self, python: Python, values: Values, futures: FutureReader) -> None:
        """Read from a Python's memory."""
        self._memory, self._layout = python.memory, python.layout
        self._values, self._futures = values, futures
        self._known: dict[int, Future | None] = {}
        self._woken: dict[int, dict[int, str]] = defaultdict(dict)
        """By each future, those that it waits for, and through what."""
        self._todo: list[int] = []
        self.missing: str | None = None
        """Why some could not be taken in."""

    def add(self, address: int) -> Future | None:
        """Take in a future, and what leads on from it; return it unless it is none."""
        self._todo.append(address)
        while self._todo:
            at = self._todo.pop()
            if at not in self._known and len(self._known) < _MOST_FUTURES:
                self._known[at] = self._read(at)
        return self._known.get(address)

    def tasks(self) -> Iterator[Future]:
        """Yield all tasks so far."""
        return (known for known in self._known.values() if known and known.is_task)

    def future(self, address: int) -> Future | None:
        """Return a future that has been taken in."""
        return self._known.get(address)

    def links(self, task: Future) -> Iterator[Link]:
        """Yield the pending tasks that a task waits for, each once."""
        found: dict[int, str | None] = {}
        seen = {task.address}
        todo: list[tuple[int, str | None]] = [*self._woken.get(task.address, {}).items()]
        if task.awaited:
            todo.append((task.awaited, None))
        while todo:
            address, through = todo.pop()
            future = self._known.get(address)
            if future is None or future.state != "pending":
                continue
            if future.is_task:
                found.setdefault(address, through)
            elif address not in seen:
                seen.add(address)
                inner = self._woken.get(address, {}).items()
                todo += [(child, through or kind) for child, kind in inner]
        return (Link(task, through) for task, through in found.items())

    def executor_job(self, future: int) -> int | None:
        """Return the ``concurrent.futures.Future`` that a future waits for, if it does."""
        known = self._known.get(future)
        for callback in known.callbacks if known else ():
            if self._name_of(callback) == _EXECUTOR:
                for thing in self._led_to(callback):
                    if self._values.type_of(thing).name == "concurrent.futures._base.Future":
                        return thing
        return None

    def _read(self, address: int) -> Future | None:
        try:
            future = self._futures.read(address)
        except AbsentMemory as error:
            self.missing = str(error)
            return None
        if future is not None:
            if future.awaited:
                self._todo.append(future.awaited)
            self._follow_callbacks(future)
        return future

    def _follow_callbacks(self, future: Future) -> None:
        for callback in future.callbacks:
            try:
                kind = _KINDS.get(self._name_of(callback))
                for waiting in self._led_to(callback) if kind else ():
                    self._woken[waiting][future.address] = kind or ""
                    self._todo.append(waiting)
            except AbsentMemory:
                continue

    def _name_of(self, callback: int) -> str:
        """Return the qualified name of a function, of a bound method's or of a partial one's."""
        for attribute in ("__func__", "func"):
            if self._values.type_of(callback).name in {"method", "functools.partial"}:
                callback = self._values.attributes(callback).get(attribute, callback)
        if self._values.type_of(callback).name != "function":
            return ""
        name = self._memory.word(callback + self._layout.qualified_name_of_function)
        return self._values.text(name, 100)

    def _led_to(self, callback: int) -> Iterator[int]:
        """Yield the objects that a callback's closure, object or arguments lead to."""
        todo = [(callback, 0)]
        seen: set[int] = set()
        while todo and len(seen) < _MOST_LED_TO:
            thing, depth = todo.pop()
            if not thing or thing in seen or depth > _DEEPEST:
                continue
            seen.add(thing)
            facts = self._values.type_of(thing)
            if facts.name in _LEADING:
                attributes = self._values.attributes(thing)
                todo += [(attributes.get(name, 0), depth + 1) for name in _LEADING[facts.name]]
            elif facts.name == "cell":
                todo.append((self._memory.word(thing + self._layout.content_of_cell), depth + 1))
            elif facts.name in _CONTAINERS:
                todo += [(item, depth + 1) for _, item in self._values.items(thing, _MOST_ITEMS)]
            else:
                yield thing
