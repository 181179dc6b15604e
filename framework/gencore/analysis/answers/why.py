"""All that `gencore why` needs of a core: what threads do, who waits for whom, what is in memory.

What cannot be read costs only its part, and says why.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Final

import attrs

from gencore.analysis import Python, ThreadState, read_stacks
from gencore.analysis.answers import deadlocks
from gencore.analysis.event_loops import blocked_loops
from gencore.analysis.grouping import Group, group_threads, telling_frame
from gencore.analysis.packages import read_packages
from gencore.analysis.requests import RequestReader
from gencore.analysis.stacks import Frame, Thread
from gencore.analysis.thread_names import thread_names
from gencore.analysis.waiting_calls import WAITING_CALLS
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

_TOP: Final = 100
"""Types and objects of the heap: a page draws more than a terminal shows."""
_MOST_THREADS: Final = 1 << 16
_MOST_FRAMES: Final = 100
"""Of a group."""


def answer(python: Python, core: CoreFile) -> dict[str, Any]:
    """Return each part by its name, and why others are missing."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    reading = _Reading(python, core)
    for name, part in _PARTS.items():
        try:
            found[name] = part(reading)
        except (IntegrityError, ImportError) as error:
            missing[name] = str(error)
    return {"version": python.version, **found, "missing": missing}


class _Reading:
    """One core, of which each method reads a part."""

    def __init__(self, python: Python, core: CoreFile) -> None:
        self._python, self._core = python, core

    @cached_property
    def _threads(self) -> dict[int, Thread]:
        return {thread.tid: thread for thread in read_stacks(self._python, self._core)}

    def threads(self) -> dict[str, Any]:
        threads = self._threads.values()
        return {
            "groups": [self._group(group) for group in group_threads(threads)],
            "gil": [_thread(thread) for thread in threads if thread.holds_gil],
            "waiting_for_gil": sum(thread.state == "waiting for the GIL" for thread in threads),
            "blocked_loops": [_thread(thread) for thread in blocked_loops(threads)],
        }

    def _group(self, group: Group) -> dict[str, Any]:
        doing = Counter(_doing(self._threads[tid]) for tid in group.members)
        return {
            "tids": group.members,
            "own": group.own,
            "place": _place(group.frames),
            "doing": doing.most_common(),
            "frames": _rows(group.frames),
        }

    def deadlocks(self) -> Any:
        return deadlocks.answer(self._python, self._core)

    def requests(self) -> list[dict[str, Any]]:
        reader = RequestReader(self._python)
        return [
            {**attrs.asdict(request), "tid": state.tid, "place": _place(self._frames(state))}
            for state in islice(self._python.threads(), _MOST_THREADS)
            for request in reader.within(reversed([*self._python.frames(state)]))
        ]

    def _frames(self, state: ThreadState) -> Sequence[Frame]:
        return self._threads[state.tid].frames if state.tid in self._threads else ()

    def heap(self) -> dict[str, Any]:
        from gencore.analysis.answers import heap  # numpy may be missing

        census = heap.answer(self._python, self._core, str(_TOP))
        sums = {name: sum(row[name] for row in census["types"]) for name in ("count", "size")}
        return {**census, "types": census["types"][:_TOP], "all": sums}

    def names(self) -> dict[int, str]:
        return thread_names(self._python)

    def packages(self) -> dict[str, str]:
        return read_packages(self._python)


_PARTS: Final[dict[str, Callable[[_Reading], Any]]] = {
    "threads": _Reading.threads,
    "names": _Reading.names,
    "deadlocks": _Reading.deadlocks,
    "requests": _Reading.requests,
    "heap": _Reading.heap,
    "packages": _Reading.packages,
}


def _thread(thread: Thread) -> dict[str, Any]:
    return {
        "tid": thread.tid,
        "place": _place(thread.frames),
        "doing": _doing(thread),
        "frames": _rows(thread.frames),
    }


def _place(frames: Sequence[Frame]) -> dict[str, Any] | None:
    place = telling_frame(frames)
    return _row(place) if place else None


def _rows(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    return [_row(frame) for frame in frames[:_MOST_FRAMES]]


def _row(frame: Frame) -> dict[str, Any]:
    return {"function": frame.function, "file": frame.file, "line": frame.line}


def _doing(thread: Thread) -> str | None:
    """Return the thread's state, of a system call that waits its name."""
    if thread.state == "in a system call" and thread.system_call in WAITING_CALLS:
        return f"in {WAITING_CALLS[thread.system_call]}"
    return thread.state
