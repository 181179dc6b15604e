"""Finds the threads that wait for each other in a cycle."""

from collections.abc import Iterable

from gencore.analysis.locking.locks import Wait

__all__ = ["find_deadlocks"]


def find_deadlocks(waits: Iterable[Wait]) -> tuple[tuple[Wait, ...], ...]:
    """Return each cycle of threads of which one holds what the one before it waits for.

    A thread that waits for what it has itself is a cycle of one; one that waits with a time limit,
    or for a lock whose owner is in doubt, is in none.
    """
    waiting = {wait.tid: wait for wait in waits if wait.forever and _is_certain(wait)}
    seen: set[int] = set()
    cycles = []
    for tid in waiting:
        path: list[Wait] = []
        at: int | None = tid
        while at in waiting and at not in seen:
            seen.add(at)
            path.append(waiting[at])
            at = path[-1].lock.owner
        begins = next((index for index, wait in enumerate(path) if wait.tid == at), None)
        if begins is not None:
            cycles.append(tuple(path[begins:]))
    return tuple(cycles)


def _is_certain(wait: Wait) -> bool:
    return wait.lock.known_by != "identity"
