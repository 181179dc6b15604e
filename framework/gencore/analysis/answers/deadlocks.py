"""The deadlocks in a core."""

from typing import Any

from gencore.analysis import Python, Wait, find_deadlocks, read_waits
from gencore.corefile import CoreFile


def answer(python: Python, core: CoreFile) -> list[list[dict[str, Any]]]:
    """Return each deadlock as a list of waits."""
    return [[_row(wait) for wait in cycle] for cycle in find_deadlocks(read_waits(python, core))]


def _row(wait: Wait) -> dict[str, Any]:
    lock = wait.lock
    return {
        "tid": wait.tid,
        "lock": lock.kind,
        "address": f"{lock.address:#x}",
        "held_by": lock.owner,
        "known_by": lock.known_by,
    }
