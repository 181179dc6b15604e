"""Finds the asyncio tasks of a dumped process, in the lists of which asyncio finds them.

Tasks made in C are in lists of threads and interpreters from 3.14 on, as long as they are pending.
All others, and before that all, are in weak sets of the module ``asyncio.tasks``.
"""

from collections.abc import Iterator
from typing import Final

from gencore.analysis.layouts import FUTURES
from gencore.analysis.memory import AbsentMemory
from gencore.analysis.python import Python
from gencore.analysis.values import Values

__all__ = ["find_tasks"]

_MODULE: Final = "asyncio.tasks"
_SETS: Final = ("_all_tasks", "_scheduled_tasks", "_eager_tasks")
"""Of which each version has some: the first one in 3.11, the others later."""
_WEAK_SET: Final = "_weakrefset.WeakSet"
_REFERRED_AT: Final = 16
"""In a ``PyWeakReference``."""
_LONGEST_NAME: Final = 100
_MOST_TASKS: Final = 1 << 20


def find_tasks(python: Python, values: Values) -> tuple[tuple[int, ...], str | None]:
    """Return the addresses of tasks, and why some may be missing: None if none is.

    Some are not of tasks: that of None has taken the place of a task that is gone. Before 3.14,
    finished tasks that something refers to are among them.
    """
    found: dict[int, None] = {}
    missing = None
    for listed in _lists(python, values):
        try:
            for task in listed:
                if len(found) >= _MOST_TASKS:
                    return tuple(found), f"there are more than {_MOST_TASKS:,} tasks"
                found[task] = None
        except AbsentMemory as error:
            missing = str(error)
    return tuple(found), missing


def _lists(python: Python, values: Values) -> Iterator[Iterator[int]]:
    layout = python.layout
    for interpreter in python.interpreters():
        yield _in_sets(python, values, interpreter)
        if layout.tasks_of_interpreter is not None:
            yield _linked(python, interpreter + layout.tasks_of_interpreter)
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


def _in_sets(python: Python, values: Values, interpreter: int) -> Iterator[int]:
    """Yield the tasks that the module of an interpreter lists, if it has been imported."""
    modules = python.memory.word(interpreter + python.layout.modules_of_interpreter)
    module = _find(values, modules, _MODULE)
    known = values.attributes(module) if module is not None else {}
    for name in _SETS:
        if name in known:
            yield from _members(python, values, known[name])


def _find(values: Values, modules: int, wanted: str) -> int | None:
    for name, module in values.items(modules):
        if name is not None and values.text(name, _LONGEST_NAME) == wanted:
            return module
    return None


def _members(python: Python, values: Values, tasks: int) -> Iterator[int]:
    if values.type_of(tasks).name != _WEAK_SET:
        yield from (task for _, task in values.items(tasks))
        return
    for _, reference in values.items(values.attributes(tasks).get("data", 0)):
        yield python.memory.word(reference + _REFERRED_AT)
