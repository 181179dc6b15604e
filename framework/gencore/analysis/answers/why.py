"""All that `gencore why` needs of a core: what threads do, who waits for whom, what is in memory.

What cannot be read costs only its part, and says why.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs

from gencore.analysis import (
    Python,
    ThreadState,
    Wait,
    read_greenlets,
    read_stacks,
    read_waits,
)
from gencore.analysis.answers.locks import cycles_of, row_of
from gencore.analysis.asynchronous.event_loops import blocked_loops
from gencore.analysis.asynchronous.task_frames import frames_of_tasks
from gencore.analysis.asynchronous.tasks import Task, Tasks, read_tasks
from gencore.analysis.inspection.packages import read_packages
from gencore.analysis.threads.grouping import Group, group_stacks, telling_frame
from gencore.analysis.threads.requests import RequestReader
from gencore.analysis.threads.stacks import Frame, Thread
from gencore.analysis.threads.system_calls import name_of
from gencore.analysis.threads.thread_names import thread_names
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

if TYPE_CHECKING:
    from gencore.analysis.heap.census import Census
    from gencore.analysis.heap.heap_objects import HeapObjects

_TOP: Final = 100
"""Types and objects of the heap: a page draws more than a terminal shows."""
_HOLDERS: Final = 5
_MOST_GROUPS, _MOST_NAMES = 1000, 20
"""Of tasks: groups, and names in a group."""
_PENDING: Final = {"running", "ready", "not started", "waiting"}
_PAUSED: Final = {"suspended", "not started"}
"""Greenlets: the stack of one that runs is its thread's."""
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
            missing[name] = _why_missing(error)
    incomplete = found.get("heap", {}).get("incomplete")
    return {"version": python.version, **found, "missing": missing, "incomplete": incomplete}


def _why_missing(error: IntegrityError | ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "numpy":
        return "numpy is not installed: pip install 'gencore[analysis]'"
    return str(error)


class _Reading:
    """One core, of which each method reads a part."""

    def __init__(self, python: Python, core: CoreFile) -> None:
        self._python, self._core = python, core

    @cached_property
    def _threads(self) -> dict[int, Thread]:
        found: dict[int, Thread] = {}
        for thread in read_stacks(self._python, self._core):
            inner = found.get(thread.tid)
            found[thread.tid] = thread if inner is None else _around(inner, thread)
        return found

    def threads(self) -> dict[str, Any]:
        threads = self._threads.values()
        stacks = ((thread.tid, thread.frames) for thread in threads)
        return {
            "groups": [self._group(group) for group in group_stacks(stacks)],
            "gil": [_thread(thread) for thread in threads if thread.holds_gil],
            "waiting_for_gil": sum(thread.state == "waiting for the GIL" for thread in threads),
            "blocked_loops": [_thread(thread) for thread in blocked_loops(threads)],
        }

    def _group(self, group: Group[Frame]) -> dict[str, Any]:
        doing = Counter(_doing(self._threads[tid]) for tid in group.members)
        return {
            "tids": group.members,
            "own": group.own,
            "place": _place(group.frames),
            "doing": doing.most_common(),
            "frames": _rows(group.frames),
        }

    @cached_property
    def _waits(self) -> tuple[Wait, ...]:
        return read_waits(self._python, self._core)

    def waits(self) -> list[dict[str, Any]]:
        return [row_of(wait) for wait in self._waits]

    def deadlocks(self) -> list[list[dict[str, Any]]]:
        return cycles_of(self._waits)

    @cached_property
    def _all_tasks(self) -> Tasks:
        return read_tasks(self._python)

    @cached_property
    def _tasks(self) -> dict[int, Task]:
        tasks = self._all_tasks.tasks
        return {task.address: task for task in tasks if task.state in _PENDING}

    def tasks(self) -> dict[str, Any]:
        stacks = ((address, task.frames) for address, task in self._tasks.items())
        return {
            "count": len(self._tasks),
            "groups": [self._task_group(group) for group in group_stacks(stacks)[:_MOST_GROUPS]],
            "cycles": [
                [_task(self._tasks[address]) for address in cycle]
                for cycle in self._all_tasks.cycles
                if self._tasks.keys() >= set(cycle)
            ],
        }

    def _task_group(self, group: Group[Frame]) -> dict[str, Any]:
        tasks = [self._tasks[address] for address in group.members]
        awaited = Counter(link.task for task in tasks for link in task.awaits)
        behind = [(self._tasks[a], n) for a, n in awaited.most_common(_TOP) if a in self._tasks]
        return {
            **_crowd(group, [task.name for task in tasks], map(_awaits, tasks)),
            "behind": [{**_task(task), "count": count} for task, count in behind[:_HOLDERS]],
        }

    def greenlets(self) -> dict[str, Any]:
        rows = (row for row in read_greenlets(self._python) if row.state in _PAUSED)
        found = {row.address: row for row in rows}
        groups = group_stacks((address, row.frames) for address, row in found.items())
        return {
            "count": len(found),
            "groups": [
                _crowd(
                    group, [*map(hex, group.members)], (found[at].state for at in group.members)
                )
                for group in groups[:_MOST_GROUPS]
            ],
        }

    def requests(self) -> list[dict[str, Any]]:
        return [*self._requests()]

    def _requests(self) -> Iterator[dict[str, Any]]:
        reader = RequestReader(self._python)
        with suppress(IntegrityError):  # the part of the tasks says why
            for address, frames in frames_of_tasks(self._python):
                task = self._tasks.get(address)
                for request in reader.within(frames):
                    worker = _task(task) if task else {"name": None, "place": None}
                    yield {**attrs.asdict(request), **worker}
        for state in islice(self._python.threads(), _MOST_THREADS):
            for request in reader.within(reversed([*self._python.frames(state)])):
                place = _place(self._frames(state))
                yield {**attrs.asdict(request), "tid": state.tid, "place": place}

    def _frames(self, state: ThreadState) -> Sequence[Frame]:
        return self._threads[state.tid].frames if state.tid in self._threads else ()

    @cached_property
    def _objects(self) -> "tuple[Census, HeapObjects]":
        from gencore.analysis.heap.census import find_counted  # numpy may be missing

        return find_counted(self._python, top=_TOP)

    def heap(self) -> dict[str, Any]:
        if self._objects[0].allocator == "unknown":
            raise IntegrityError(str(self._objects[0].incomplete))
        census = attrs.asdict(self._objects[0])
        sums = {name: sum(row[name] for row in census["types"]) for name in ("count", "size")}
        return {**census, "types": census["types"][:_TOP], "all": sums}

    def holders(self) -> Any:
        from gencore.analysis.answers.retained import of_heap  # numpy may be missing
        from gencore.analysis.graph.reachability import heap_of

        if (incomplete := self._objects[0].incomplete) is not None:
            raise IntegrityError(incomplete)
        return of_heap(heap_of(self._python, self._objects[1]), _HOLDERS)

    def names(self) -> dict[int, str]:
        return thread_names(self._python)

    def packages(self) -> dict[str, str]:
        return read_packages(self._python)


_PARTS: Final[dict[str, Callable[[_Reading], Any]]] = {
    "threads": _Reading.threads,
    "names": _Reading.names,
    "waits": _Reading.waits,
    "deadlocks": _Reading.deadlocks,
    "tasks": _Reading.tasks,
    "greenlets": _Reading.greenlets,
    "requests": _Reading.requests,
    "heap": _Reading.heap,
    "holders": _Reading.holders,
    "packages": _Reading.packages,
}


def _around(inner: Thread, outer: Thread) -> Thread:
    """Return a thread of two interpreters: the one that was made later runs within the other."""
    first, second = (inner, outer) if outer.interpreter == 0 else (outer, inner)
    frames = (*first.frames, *second.frames)
    return attrs.evolve(second if second.holds_gil else first, frames=frames)


def _crowd(group: Group[Frame], names: list[str], doing: Iterable[str]) -> dict[str, Any]:
    """Return a group of tasks or of greenlets."""
    return {
        "count": len(names),
        "names": names[:_MOST_NAMES],
        "own": group.own,
        "place": _place(group.frames),
        "doing": Counter(doing).most_common(),
        "frames": _rows(group.frames),
    }


def _task(task: Task) -> dict[str, Any]:
    return {"name": task.name, "place": _place(task.frames), "doing": _awaits(task)}


def _awaits(task: Task) -> str:
    """Return a task's state, of one that waits in asyncio's code the function that it is in."""
    if task.state != "waiting":
        return task.state
    return f"in {task.awaited.function}" if task.awaited else "waiting"


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
    """Return the thread's state, with the name of the system call that it is in.

    One that holds the GIL runs: others wait until the call returns.
    """
    call = name_of(thread.system_call)
    if call and thread.state in {"in a system call", "running"}:
        return f"in {call}" if thread.state != "running" else f"running in {call}"
    return thread.state
