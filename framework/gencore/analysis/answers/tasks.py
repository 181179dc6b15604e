"""The asyncio tasks and the greenlets in a core; what many have in common is said once."""

from collections.abc import Iterable
from typing import Any, Final

import attrs

from gencore.analysis import (
    Awaited,
    Frame,
    Greenlet,
    Link,
    Python,
    Task,
    read_greenlets,
    read_tasks,
)
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

_MOST: Final = 50_000
"""Tasks, and greenlets: their rows stay within the output that a reader may have."""


def answer(python: Python, _core: CoreFile) -> dict[str, Any]:
    """Return loops, tasks, cycles and greenlets; what they share are places in lists."""
    found = read_tasks(python)
    reasons = [found.incomplete]
    greenlets: tuple[Greenlet, ...] = ()
    try:
        greenlets = read_greenlets(python)
    except IntegrityError as error:
        reasons.append(error.message)
    left_out = max(0, len(found.tasks) - _MOST) + max(0, len(greenlets) - _MOST)
    if left_out:
        reasons.append(f"{left_out:,} more than can be shown")
    places = _Places()
    return {
        "version": python.version,
        "loops": [attrs.asdict(loop) for loop in found.loops],
        "tasks": [places.task(task) for task in found.tasks[:_MOST]],
        "greenlets": [places.greenlet(greenlet) for greenlet in greenlets[:_MOST]],
        "frames": [attrs.asdict(frame) for frame in places.frames],
        "stacks": list(places.stacks),
        "links": [[[link.task, link.through] for link in links] for links in places.links],
        "awaited": [attrs.asdict(thing) for thing in places.awaited],
        "cycles": found.cycles,
        "incomplete": next(filter(None, reasons), None),
    }


class _Places:
    """What was said so far, and where."""

    def __init__(self) -> None:
        self.frames: dict[Frame, int] = {}
        self.stacks: dict[tuple[int, ...], int] = {}
        self.links: dict[tuple[Link, ...], int] = {}
        self.awaited: dict[Awaited, int] = {}

    def task(self, task: Task) -> dict[str, Any]:
        kept = ("address", "name", "loop", "state", "exception", "cancel_requests", "incomplete")
        thing = task.awaited
        return {
            **{name: getattr(task, name) for name in kept},
            "stack": self._stack(task.frames),
            "awaited": None
            if thing is None
            else self.awaited.setdefault(thing, len(self.awaited)),
            "awaits": self.links.setdefault(task.awaits, len(self.links)),
        }

    def greenlet(self, greenlet: Greenlet) -> dict[str, Any]:
        kept = ("address", "type_name", "state", "incomplete")
        return {
            **{name: getattr(greenlet, name) for name in kept},
            "stack": self._stack(greenlet.frames),
        }

    def _stack(self, frames: Iterable[Frame]) -> int:
        stack = tuple(self.frames.setdefault(frame, len(self.frames)) for frame in frames)
        return self.stacks.setdefault(stack, len(self.stacks))
