"""Finds cycles among things of which each leads to some others."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

__all__ = ["find_cycles"]


def find_cycles(following: Mapping[int, Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Return cycles, none of which shares a member with another; each part of a tangle is in one.

    *following* are those that each leads to.
    """
    left = _without_ends(following)
    cycles = []
    seen: set[int] = set()
    for start in left:
        path: dict[int, None] = {}
        at: int | None = start
        while at is not None and at not in seen:
            seen.add(at)
            path[at] = None
            at = next((other for other in following[at] if other in left), None)
        if at in path:
            members = list(path)
            cycles.append(tuple(members[members.index(at) :]))
    return tuple(cycles)


def _without_ends(following: Mapping[int, Sequence[int]]) -> dict[int, None]:
    """Return those that lead on for ever, in order: a cycle is all that some of them lead to."""
    before: dict[int, list[int]] = defaultdict(list)
    count = {start: len(others) for start, others in following.items()}
    for start, others in following.items():
        for other in others:
            before[other].append(start)
    ends = [at for at in {**before, **count} if not count.get(at)]
    while ends:
        for start in before[ends.pop()]:
            count[start] -= 1
            if not count[start]:
                ends.append(start)
    return {start: None for start in following if count[start]}
