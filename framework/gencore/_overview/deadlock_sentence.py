"""Says in a sentence which threads wait for each other."""

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["deadlock_sentence"]

_HELD: Final[Mapping[str | None, str]] = {
    "Lock": "a Lock held by",
    "RLock": "an RLock held by",
    "Thread": "the end of",
    "module lock": "an import by",
}


def deadlock_sentence(names: Sequence[str], kinds: Sequence[str | None]) -> str:
    """Return the sentence about threads of which each waits for the next, the last for the first.

    *kinds* are those of the locks that they wait for, as in `gencore.analysis.Lock`.
    """
    if len(names) == 1:
        return f"deadlock: {names[0]} waits for a {kinds[0]} that it holds itself"
    holders = (*names[1:], *names[:1])
    clauses = (
        f"waits for {_HELD.get(kind, 'a lock held by')} {holder}"
        for kind, holder in zip(kinds, holders, strict=True)
    )
    return f"deadlock: {names[0]} {', which '.join(clauses)}"
