"""The deadlocks that `gencore.analysis` finds in a core, as rows and as text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from gencore._overview import deadlock_sentence
from gencore.bundle.manifest import ManifestValue
from gencore.cli.thread_stacks import ThreadStack, integer_of

__all__ = ["Deadlock", "deadlock_lines", "deadlocks_from_core"]


@attrs.frozen(kw_only=True)
class LockWait:
    """A thread of a deadlock, and the lock that it waits for; what is unknown is None."""

    tid: int | None
    name: str | None
    lock: str | None
    """What it is: ``Lock``, ``RLock``, ``Thread``, ``module lock``."""
    address: str | None
    held_by: int | None
    """The tid of the thread that holds it: the next of the deadlock, or the first."""
    known_by: str | None
    """``record`` of the lock, or the ``with`` block that the other thread is in."""


Deadlock = tuple[LockWait, ...]


def deadlocks_from_core(
    cycles: ManifestValue, stacks: Sequence[ThreadStack]
) -> tuple[Deadlock, ...] | None:
    """Return the deadlocks that were read, with the names that *stacks* have; None if unknown."""
    if not cycles.known:
        return None
    names = {stack.tid: stack.name for stack in stacks}
    found = (tuple(_wait(row, names) for row in cycle) for cycle in cycles)
    return tuple(filter(None, found))


def _wait(row: ManifestValue, names: Mapping[int | None, str | None]) -> LockWait:
    tid = integer_of(row["tid"])
    return LockWait(
        tid=tid,
        name=names.get(tid),
        lock=row["kind"].text,
        address=row["address"].text,
        held_by=integer_of(row["held_by"]),
        known_by=row["known_by"].text,
    )


def deadlock_lines(deadlocks: Sequence[Deadlock], stacks: Sequence[ThreadStack]) -> Iterator[str]:
    """Yield a sentence for each deadlock; a thread whose name others have too gets its tid."""
    count = Counter(stack.name for stack in stacks)

    def label(wait: LockWait) -> str:
        if wait.name is None:
            return f"thread {wait.tid}"
        return wait.name if count[wait.name] == 1 else f"{wait.name} ({wait.tid})"

    for waits in deadlocks:
        yield deadlock_sentence([*map(label, waits)], [wait.lock for wait in waits])
