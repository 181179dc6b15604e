"""The asyncio tasks in a core; what many of them have in common, such as a frame, is said once."""

from typing import Any, Final

import attrs

from gencore.analysis import Awaited, Frame, Python, Task, read_tasks
from gencore.corefile import CoreFile

_MOST_TASKS: Final = 50_000
"""Their rows stay within the output that a reader may have."""


def answer(python: Python, _core: CoreFile) -> dict[str, Any]:
    """Return loops, tasks and cycles; tasks have places in the lists of frames and of objects."""
    found = read_tasks(python)
    frames: dict[Frame, int] = {}
    awaited: dict[Awaited, int] = {}
    rows = [_row(task, frames, awaited) for task in found.tasks[:_MOST_TASKS]]
    left_out = len(found.tasks) - len(rows)
    reason = f"{left_out:,} tasks more than can be shown" if left_out else None
    return {
        "version": python.version,
        "loops": [attrs.asdict(loop) for loop in found.loops],
        "tasks": rows,
        "frames": [attrs.asdict(frame) for frame in frames],
        "awaited": [attrs.asdict(thing) for thing in awaited],
        "cycles": found.cycles,
        "incomplete": found.incomplete or reason,
    }


def _row(task: Task, frames: dict[Frame, int], awaited: dict[Awaited, int]) -> dict[str, Any]:
    kept = ("address", "name", "loop", "state", "exception", "cancel_requests", "incomplete")
    thing = task.awaited
    return {
        **{name: getattr(task, name) for name in kept},
        "frames": [frames.setdefault(frame, len(frames)) for frame in task.frames],
        "awaited": None if thing is None else awaited.setdefault(thing, len(awaited)),
        "awaits": [[link.task, link.through] for link in task.awaits],
    }
