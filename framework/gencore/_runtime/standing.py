"""What this process has set for all its dumps: annotations, and memory that is in none of them.

Without locks: it is read inside the pause, which may be asked for by a signal handler. Adding,
discarding and copying are each one step of the interpreter. Loads little, as `gencore.arming`.
"""

from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["annotations", "excluded_ranges", "exclusions", "follower", "tell_follower"]


class _Range(Protocol):
    start: int
    end: int


annotations: Final[dict[str, str]] = {}
exclusions: Final[set[_Range]] = set()
follower: Final[list[Callable[[], None]]] = []
"""What is called after each change, on the thread that made it: one function, or none."""


def excluded_ranges() -> tuple[tuple[int, int], ...]:
    """Return (start, end) of all that is excluded now, in order of address."""
    ranges = ((e.start, e.end) for e in exclusions.copy())
    return tuple(sorted((start, end) for start, end in ranges if end > start))


def tell_follower() -> None:
    """Call it, if there is one."""
    for call in follower:
        call()
