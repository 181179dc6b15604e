"""Finds the asyncio tasks of a dumped process, in the lists of which asyncio finds them.

Tasks made in C are in lists of threads and interpreters from 3.14 on, as long as they are pending;
those that have ended are searched for. All others, and before that all, are in weak sets of the
module ``asyncio.tasks``.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from gencore.analysis.asynchronous.futures import FutureReader
from gencore.analysis.inspection.instances import find_instances
from gencore.analysis.inspection.modules import find_module
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.layouts import FUTURES
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.errors import IntegrityError

__all__ = ["find_tasks"]

_MODULE: Final = "asyncio.tasks"
_SETS: Final = ("_all_tasks", "_scheduled_tasks", "_eager_tasks")
"""Of which each version has some: the first one in 3.11, the others later."""
_WEAK_SET: Final = "_weakrefset.WeakSet"
_TYPES: Final = ("Task", "_PyTask")
_REFERRED_AT: Final = 16
"""In a ``PyWeakReference``."""
_MOST_TASKS: Final = 1 << 20


def find_tasks(
    python: Python, values: Values, futures: FutureReader
) -> tuple[tuple[int, ...], str | None]:
    """Return the addresses of tasks, and why some may be missing: None if none is.

    Some are not of tasks: that of None has taken the place of a task that is gone.
    """
    found: dict[int, None] = {}
    missing = None
    for listed in _lists(python, values, futures):
        try:
            for task in listed:
                if len(found) >= _MOST_TASKS:
                    return tuple(found), f"there are more than {_MOST_TASKS:,} tasks"
                found[task] = None
        except IntegrityError as error:
            missing = error.message
    return tuple(found), missing


def _lists(python: Python, values: Values, futures: FutureReader) -> Iterator[Iterator[int]]:
    layout = python.layout
    for interpreter in python.interpreters():
        yield _in_sets(python, values, interpreter)
        if layout.tasks_of_interpreter is not None:
            yield _linked(python, interpreter + layout.tasks_of_interpreter)
            yield _ended(python, values, futures, interpreter)
    if layout.tasks_of_thread is not None:
        for thread in python.threads():
            yield _linked(python, thread.address + layout.tasks_of_thread)


def _linked(python: Python, head: int) -> Iterator[int]:
    """Yield the tasks of a list that ends where it begins: each node is within a task."""
    node_in_task = FUTURES[python.minor].node or 0
    seen = {head}
    node = python.memory.word(head)
    while node and node not in seen and len(seen) < _MOST_TASKS:
        seen.add(node)
        yield node - node_in_task
        node = python.memory.word(node)


def _ended(
    python: Python, values: Values, futures: FutureReader, interpreter: int
) -> Iterator[int]:
    """Yield the tasks of an interpreter that have ended."""
    known = find_module(python, values, interpreter, _MODULE)
    types = {known[name] for name in _TYPES if name in known}
    for address in find_instances(python, values, types):
        with suppress(AbsentMemory):
            future = futures.read(address) if python.memory.word(address) else None
            if future is not None and future.coroutine and future.state != "pending":
                values.type_of(future.loop)
                yield address


def _in_sets(python: Python, values: Values, interpreter: int) -> Iterator[int]:
    """Yield the tasks that the module of an interpreter lists, if it has been imported."""
    known = find_module(python, values, interpreter, _MODULE)
    for name in _SETS:
        if name in known:
            yield from _members(python, values, known[name])


def _members(python: Python, values: Values, tasks: int) -> Iterator[int]:
    if values.type_of(tasks).name != _WEAK_SET:
        yield from (task for _, task in values.items(tasks))
        return
    for _, reference in values.items(values.attributes(tasks).get("data", 0)):
        yield python.memory.word(reference + _REFERRED_AT)
