"""Reads the asyncio tasks of a dumped process: what each does, where, and for whom it waits."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import Final, Literal

import attrs

from gencore.analysis.asynchronous.async_locks import find_holders
from gencore.analysis.asynchronous.awaited import Awaited, AwaitedReader
from gencore.analysis.asynchronous.awaiting import Awaiting, Link
from gencore.analysis.asynchronous.coroutines import Chain, CoroutineReader
from gencore.analysis.asynchronous.futures import Future, FutureReader
from gencore.analysis.asynchronous.loops import Loop, read_loops
from gencore.analysis.asynchronous.task_lists import find_tasks
from gencore.analysis.cycles import find_cycles
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.analysis.threads.stacks import Frame, StackReader

__all__ = ["Task", "Tasks", "read_tasks"]

State = Literal["running", "ready", "not started", "waiting", "finished", "failed", "cancelled"]

_LOCKS: Final = {"Lock.acquire": "Lock", "Semaphore.acquire": "Semaphore"}
_LONGEST_ERROR: Final = 200
_MOST_THREADS: Final = 1 << 16


@attrs.frozen(kw_only=True)
class Task:
    """An asyncio task at the instant of the dump."""

    address: int
    name: str
    loop: int
    """Its address."""
    state: State
    """``ready`` waits for nothing but its loop, and ``not started`` never ran before."""
    frames: tuple[Frame, ...]
    """Of its coroutine and those that it awaits, innermost first; none if it has ended."""
    awaited: Awaited | None
    """The function of asyncio in which it waits, if it is in one."""
    awaits: tuple[Link, ...]
    """The pending tasks that it waits for."""
    exception: str | None
    """With which it has failed."""
    cancel_requests: int
    """How often ``cancel()`` has been called, if it has not ended since."""
    incomplete: str | None
    """Why its frames may lack inner ones; None if they are complete."""


@attrs.frozen(kw_only=True)
class Tasks:
    """All tasks of a process."""

    loops: tuple[Loop, ...]
    tasks: tuple[Task, ...]
    """In order of loops, then of names."""
    cycles: tuple[tuple[int, ...], ...]
    """Addresses of tasks of which each waits for the next one, and the last for the first."""
    incomplete: str | None
    """Why tasks may be missing; None if none is."""


def read_tasks(python: Python) -> Tasks:
    """Return the asyncio tasks of all event loops, C's and Python's.

    Tasks that have ended are among them as long as something refers to them; from 3.14 on, numpy,
    of the extra ``analysis``, is needed for these. If the core lacks what leads to tasks, as it
    does with the contents ``stacks`` and ``triage``, there are none; `Tasks.incomplete` says why.
    """
    return _Reader(python).tasks()


@attrs.frozen(kw_only=True, eq=False)
class _Known:
    """A task, and what was found of it first."""

    future: Future
    chain: Chain
    frames: tuple[tuple[int, Frame], ...]
    """With their addresses, outermost first."""
    awaited: Awaited | None
    state: State


class _Reader:
    def __init__(self, python: Python) -> None:
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._values = Values(python)
        self._coroutines = CoroutineReader(python, self._values)
        self._stacks = StackReader(python)
        self._awaited = AwaitedReader(python.memory, self._values, self._coroutines)
        self._futures = FutureReader(python, self._values)
        self._awaiting = Awaiting(python, self._values, self._futures)

    def tasks(self) -> Tasks:
        addresses, incomplete = find_tasks(self._python, self._values, self._futures)
        for address in addresses:
            self._awaiting.add(address)
        known = {f.address: self._known(f) for f in self._awaiting.tasks() if f.coroutine}
        holders = self._holders(known.values())
        loops = read_loops(self._python, self._values, (row.future.loop for row in known.values()))
        places = {loop.address: place for place, loop in enumerate(loops)}
        tasks = sorted(
            (self._task(row, holders) for row in known.values()),
            key=lambda task: (places.get(task.loop, len(places)), _natural(task.name)),
        )
        links = {task.address: [link.task for link in task.awaits] for task in tasks}
        return Tasks(
            loops=loops,
            tasks=tuple(tasks),
            cycles=find_cycles(links),
            incomplete=incomplete or self._awaiting.missing,
        )

    def _known(self, future: Future) -> _Known:
        chain = self._coroutines.chain(future.coroutine)
        if chain.state == "running":
            chain = self._on_thread(chain)
        frames = tuple(self._frames(chain))
        state = self._state(future, chain)
        awaited = self._awaited_by(future, frames) if state == "waiting" else None
        return _Known(future=future, chain=chain, frames=frames, awaited=awaited, state=state)

    def _on_thread(self, chain: Chain) -> Chain:
        """Return a running coroutine with the frames of all that it has called."""
        for frames in self._frames_of_threads:
            if chain.frames[0] in frames:
                index = frames.index(chain.frames[0])
                return attrs.evolve(chain, frames=frames[index::-1])
        return attrs.evolve(chain, incomplete="it runs, and no thread has its frame")

    @cached_property
    def _frames_of_threads(self) -> list[tuple[int, ...]]:
        threads = islice(self._python.threads(), _MOST_THREADS)
        return [tuple(self._python.frames(thread)) for thread in threads]

    def _frames(self, chain: Chain) -> Iterator[tuple[int, Frame]]:
        for address in chain.frames:
            with suppress(AbsentMemory):
                if (frame := self._stacks.frame(address)) is not None:
                    yield address, frame

    def _state(self, future: Future, chain: Chain) -> State:
        if future.state != "pending":
            return "failed" if future.exception else future.state
        if chain.state == "created":
            return "not started"
        if chain.state == "running":
            return "running"
        awaited = self._awaiting.future(future.awaited)
        is_done = awaited is not None and awaited.state != "pending"
        return "waiting" if future.awaited and not is_done else "ready"

    def _awaited_by(self, future: Future, frames: Sequence[tuple[int, Frame]]) -> Awaited | None:
        with suppress(AbsentMemory):
            job = self._awaiting.executor_job(future.awaited)
            return self._awaited.executor_job(job) if job else self._awaited.read(frames)
        return None

    def _holders(self, tasks: Iterable[_Known]) -> dict[int, tuple[int, ...]]:
        """Return the tasks that hold each lock that is waited for, as far as it is known."""
        rows = [row for row in tasks if row.chain.state == "suspended"]
        waiting = {row.future.address: lock for row in rows if (lock := _lock_of(row))}
        frames = {row.future.address: row.chain.frames for row in rows}
        return find_holders(self._python, self._values, self._coroutines, waiting, frames)

    def _task(self, row: _Known, holders: Mapping[int, tuple[int, ...]]) -> Task:
        future = row.future
        pending = future.state == "pending"
        awaits = tuple(self._awaiting.links(future)) if pending else ()
        return Task(
            address=future.address,
            name=future.name,
            loop=future.loop,
            state=row.state,
            frames=tuple(frame for _, frame in reversed(row.frames)),
            awaited=row.awaited,
            awaits=(*awaits, *_links_to_holders(row, holders)),
            exception=self._values.show(future.exception, _LONGEST_ERROR)
            if future.exception
            else None,
            cancel_requests=future.cancel_requests if pending else 0,
            incomplete=row.chain.incomplete,
        )


def _lock_of(row: _Known) -> int | None:
    """Return the lock, or semaphore, that a task waits for, if it does."""
    awaited = row.awaited
    return awaited.address if awaited and awaited.function in _LOCKS else None


def _links_to_holders(row: _Known, holders: Mapping[int, tuple[int, ...]]) -> Iterator[Link]:
    """Yield what a task waits for that waits for a lock: of a Lock, only a single holder is it."""
    kind = _LOCKS.get(row.awaited.function) if row.awaited else None
    found = holders.get(_lock_of(row) or 0, ())
    if kind == "Semaphore" or len(found) == 1:
        yield from (Link(task, kind) for task in found)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what names are sorted by: Task-9 comes before Task-10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
