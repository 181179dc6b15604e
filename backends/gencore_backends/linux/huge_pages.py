"""Collapses memory into huge pages: of this process, or of another one by its agent."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from gencore.huge_pages import HugePages
from gencore_backends.linux import _native
from gencore_backends.linux.memory_cgroup import free_memory

if TYPE_CHECKING:
    from gencore.target import Target

__all__ = ["collapse_memory", "collapse_memory_of", "within"]

_TOTAL: Final = 10.0
"""Seconds. The agent does nothing else meanwhile."""
_STALL: Final = 0.05
"""Seconds for a step: a longer one holds the process up for as long as a clone of about 2 GiB."""
_FIELDS: Final = 9
_LARGEST: Final = 1 << 64
_LARGEST_ERROR: Final = 4096
_STOPPED: Final = {
    "disabled": "this process may have none (PR_SET_THP_DISABLE, see prctl(2))",
    "advised": "the program keeps memory in small pages (MADV_NOHUGEPAGE, see madvise(2))",
    "unsupported": "this kernel collapses none on request; Linux 6.1 and later do, if built so",
    "refused": "the system refuses to collapse memory",
    "page-size": "only pages of 4 KiB are collapsed",
    "unreadable": "the memory map cannot be read",
    "stall": "step {steps} took {longest:.0f} ms",
    "failed": "the kernel had no huge page for step {steps}",
    "memory": "too little memory is free after step {steps}",
    "time": "its time was over after step {steps}",
    "interrupted": "the agent was needed, or the process forked, after step {steps}",
}


def collapse_memory(*, total: float = _TOTAL, stall: float = _STALL) -> HugePages:
    """Collapse that of this process, in so many seconds, until a step takes *stall* seconds."""
    row = _native.collapse(int(total * 1e3), int(stall * 1e3), free_memory())
    return _outcome(row)


def collapse_memory_of(target: "Target", timeout: float | None = None) -> HugePages | None:
    """Let the agent of an armed process do the same, in *timeout* seconds at most.

    None if it is too old for that, or answers something else.

    Raises `TargetUnavailable`.
    """
    from gencore_backends.linux.agent_client import ask_to_collapse

    row = ask_to_collapse(target, total=within(timeout), stall=_STALL, room=free_memory())
    return _outcome(row) if _is_outcome(row) else None


def within(timeout: float | None) -> float:
    """Return how many seconds it may take before a dump that has so many."""
    return _TOTAL if timeout is None else min(_TOTAL, timeout)


def _is_outcome(row: Any) -> TypeGuard[list[Any]]:
    """Whether it is what the native part says: an agent may be anybody's program."""
    if not isinstance(row, list) or len(row) != _FIELDS:
        return False
    *amounts, stopped, number = row
    return (
        all(type(amount) is int and 0 <= amount < _LARGEST for amount in amounts)
        and (stopped is None or isinstance(stopped, str))
        and type(number) is int
        and 0 <= number < _LARGEST_ERROR
    )


def _outcome(row: "Sequence[Any]") -> HugePages:
    """Return what the native part says; see native/huge_pages.h."""
    before, after, private, shared, steps, longest_ns, total_ns, stopped, number = row
    return HugePages(
        collapsed=max(0, after - before),
        already=before,
        small=max(0, private - after),
        shared=shared,
        steps=steps,
        longest_step=longest_ns / 1e9,
        seconds=total_ns / 1e9,
        stopped=None if stopped is None else _why(stopped, steps, longest_ns / 1e6, number),
    )


def _why(stopped: str, steps: int, longest: float, number: int) -> str:
    text = _STOPPED.get(stopped, "for a reason that this version does not know").format(
        steps=steps, longest=longest
    )
    return f"{text} ({os.strerror(number)})" if number else text
