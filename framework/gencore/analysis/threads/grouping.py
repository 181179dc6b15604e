"""Groups threads by the innermost frame of the application's own code: there each of them is.

The frames below it are of the standard library, of installed packages, or of gencore, which takes
the dump; how they are called is told by where their files lie.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from gencore.analysis.inspection.origins import origin_of

__all__ = ["Group", "Spot", "group_stacks", "telling_frame"]


class Spot(Protocol):
    """A frame, or what else is at a line of code."""

    @property
    def function(self) -> str:
        """The qualified name of the function."""

    @property
    def file(self) -> str:
        """Its file, as the code has it."""

    @property
    def line(self) -> int | None:
        """The line; None if it is unknown."""


Frame = TypeVar("Frame", bound=Spot)


@attrs.frozen(kw_only=True)
class Group(Generic[Frame]):
    """Threads, or tasks, that are at one place."""

    members: tuple[int, ...]
    """Tids, or addresses of tasks, in the order in which they were given."""
    frames: tuple[Frame, ...]
    """Innermost first: of one member."""
    place: Frame | None
    """The frame that the group is named after; None if there are none."""

    @property
    def own(self) -> bool:
        """Whether that is the application's."""
        return self.place is not None and origin_of(self.place.file) == "application"


def telling_frame(frames: Sequence[Frame]) -> Frame | None:
    """Return the innermost frame of the application, else that which is not gencore's."""
    for origins in (("application",), ("package", "standard library"), ("gencore",)):
        found = (frame for frame in frames if origin_of(frame.file) in origins)
        if (frame := next(found, None)) is not None:
            return frame
    return None


def group_stacks(stacks: Iterable[tuple[int, tuple[Frame, ...]]]) -> tuple[Group[Frame], ...]:
    """Return the groups, the largest first, and what has no frames last."""
    found: dict[tuple[str, str, int | None] | None, list[tuple[int, tuple[Frame, ...]]]]
    found = defaultdict(list)
    for member, frames in stacks:
        place = telling_frame(frames)
        spot = None if place is None else (place.function, place.file, place.line)
        found[spot].append((member, frames))
    groups = (_group(rows) for rows in found.values())
    return tuple(sorted(groups, key=lambda group: (not group.frames, -len(group.members))))


def _group(rows: Sequence[tuple[int, tuple[Frame, ...]]]) -> Group[Frame]:
    frames = rows[0][1]
    members = tuple(member for member, _ in rows)
    return Group(members=members, frames=frames, place=telling_frame(frames))
