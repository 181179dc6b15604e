"""Finds the event loops of a dumped process, and which thread runs each."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

import attrs

from gencore.analysis.inspection.objects import find_in_dict
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python, ThreadState

__all__ = ["Loop", "read_loops"]

_RUNNING: Final = "__asyncio_running_event_loop__"
"""Of a thread's dictionary."""
_HOLDER: Final = "_RunningLoopHolder"
_LOOP_AT: Final = 16
"""In such a holder, which 3.11 has there."""
_MOST_THREADS: Final = 1 << 16


@attrs.frozen(kw_only=True)
class Loop:
    """An event loop that has tasks, or runs."""

    address: int
    type_name: str
    tid: int | None
    """Of the thread that runs it; None if it does not run."""


def read_loops(python: Python, values: Values, of_tasks: Iterable[int]) -> tuple[Loop, ...]:
    """Return the loops that run, in order of threads, and then others of those that tasks have."""
    running = dict(_running(python, values))
    return tuple(
        Loop(address=at, type_name=_type_name(values, at), tid=running.get(at))
        for at in dict.fromkeys((*running, *of_tasks))
    )


def _running(python: Python, values: Values) -> Iterator[tuple[int, int]]:
    """Yield the loop that each thread runs, and its tid."""
    for thread in islice(python.threads(), _MOST_THREADS):
        with suppress(AbsentMemory):
            if loop := _loop_of(python, values, thread):
                yield loop, thread.tid


def _loop_of(python: Python, values: Values, thread: ThreadState) -> int | None:
    word, layout = python.memory.word, python.layout
    if layout.loop_of_thread is not None:
        return word(thread.address + layout.loop_of_thread)
    dictionary = word(thread.address + layout.dict_of_thread)
    found = find_in_dict(python.memory, layout, dictionary, _RUNNING) if dictionary else None
    if found is not None and values.type_name(found) == _HOLDER:
        found = word(found + _LOOP_AT)
    return None if found is None or values.type_name(found) == "NoneType" else found


def _type_name(values: Values, thing: int) -> str:
    try:
        return values.type_name(thing)
    except AbsentMemory:
        return "unknown"
