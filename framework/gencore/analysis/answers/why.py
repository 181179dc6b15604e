"""All that `gencore why` needs of a core: what threads do, who waits for whom, what is in memory.

What cannot be read costs only its part, and says why.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from gencore.analysis import Python, read_stacks
from gencore.analysis.answers import deadlocks, heap
from gencore.analysis.event_loops import blocked_loops
from gencore.analysis.grouping import Group, group_threads, telling_frame
from gencore.analysis.stacks import Frame, Thread
from gencore.analysis.waiting_calls import WAITING_CALLS
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

_TOP: Final = 10
"""Types and objects of the heap."""
_MOST_FRAMES: Final = 100
"""Of a group."""


def answer(python: Python, core: CoreFile) -> dict[str, Any]:
    """Return each part by its name, and why others are missing."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, part in _PARTS.items():
        try:
            found[name] = part(python, core)
        except (IntegrityError, ImportError) as error:
            missing[name] = str(error)
    return {"version": python.version, **found, "missing": missing}


def _threads(python: Python, core: CoreFile) -> dict[str, Any]:
    threads = read_stacks(python, core)
    by_tid = {thread.tid: thread for thread in threads}
    return {
        "groups": [_group(group, by_tid) for group in group_threads(threads)],
        "gil": [_thread(thread) for thread in threads if thread.holds_gil],
        "waiting_for_gil": sum(thread.state == "waiting for the GIL" for thread in threads),
        "blocked_loops": [_thread(thread) for thread in blocked_loops(threads)],
    }


def _group(group: Group, threads: dict[int, Thread]) -> dict[str, Any]:
    doing = Counter(_doing(threads[tid]) for tid in group.members)
    return {
        "tids": group.members,
        "own": group.own,
        "place": attrs.asdict(group.place) if group.place else None,
        "doing": doing.most_common(),
        "frames": _rows(group.frames),
    }


def _thread(thread: Thread) -> dict[str, Any]:
    place = telling_frame(thread.frames)
    return {
        "tid": thread.tid,
        "place": attrs.asdict(place) if place else None,
        "doing": _doing(thread),
        "frames": _rows(thread.frames),
    }


def _rows(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    return [attrs.asdict(frame) for frame in frames[:_MOST_FRAMES]]


def _doing(thread: Thread) -> str | None:
    """Return the thread's state, of a system call that waits its name."""
    if thread.state == "in a system call" and thread.system_call in WAITING_CALLS:
        return f"in {WAITING_CALLS[thread.system_call]}"
    return thread.state


def _heap(python: Python, core: CoreFile) -> dict[str, Any]:
    census = heap.answer(python, core, str(_TOP))
    sums = {name: sum(row[name] for row in census["types"]) for name in ("count", "size")}
    return {**census, "types": census["types"][:_TOP], "all": sums}


_PARTS: Final[dict[str, Callable[[Python, CoreFile], Any]]] = {
    "threads": _threads,
    "deadlocks": deadlocks.answer,
    "heap": _heap,
}
