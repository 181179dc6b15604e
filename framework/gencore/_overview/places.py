"""The places in the application's code that an overview names, and the threads that are there."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from gencore.analysis.threads.grouping import group_stacks
from gencore.bundle.manifest import ManifestValue

__all__ = ["Group", "Names", "Place", "Source", "integer", "names_of", "recorded_threads"]

Source = Callable[[str, float | None], str | None]
"""Returns a line of a file if the bundle has it: `SourceLines.find`."""


@attrs.frozen
class Place:
    """A line of code."""

    function: str
    file: str
    line: int | None
    source_line: str | None
    """The line itself, if the bundle has it."""

    @classmethod
    def of(cls, row: ManifestValue, source: Source) -> "Place | None":
        """Return the place of a frame; None if there is none."""
        if not row.known:
            return None
        file, line = str(row["file"]), integer(row["line"])
        return cls(str(row["function"]), file, line, source(file, line))

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line or '?'})"


@attrs.frozen(kw_only=True)
class Group:
    """Threads, tasks or greenlets whose innermost frame of the application's code is the same."""

    count: int
    own: bool
    """Whether the place is the application's; else it is the innermost of all frames."""
    place: Place | None
    """None if they run no Python."""
    doing: tuple[str, ...]
    """What they do, the most frequent first: ``running``, ``in poll``, ``in Queue.get``."""
    names: tuple[str, ...]
    """What they are called; of tasks not all."""
    frames: tuple[Place, ...]
    """The stack of one of them, innermost first."""

    @classmethod
    def of(cls, row: ManifestValue, names: "Names", source: Source) -> "Group":
        """Return the group of a row of an answer."""
        tids, named = row["tids"].rows, row["names"].rows
        return cls(
            count=integer(row["count"]) or len(tids),
            own=row["own"].text == "yes",
            place=Place.of(row["place"], source),
            doing=tuple(pair.rows[0].text or "unknown" for pair in row["doing"] if pair.rows),
            names=(*map(names, tids), *map(str, named)),
            frames=tuple(place for frame in row["frames"] if (place := Place.of(frame, source))),
        )


Names = Callable[[ManifestValue], str]
"""Returns what a thread is called, with its tid unless no other is called so."""


def integer(value: ManifestValue) -> int | None:
    """Return a number that is not negative, as one without decimals."""
    return None if value.amount is None else int(value.amount)


def names_of(threads: ManifestValue, in_core: ManifestValue) -> Names:
    """Return what calls threads as Python does, by a manifest or a core, else as the kernel does.

    *in_core* has the names that were read of the core, by tid.
    """
    found = {
        str(integer(row["tid"])): row["python"]["name"].text
        or in_core[str(integer(row["tid"]))].text
        or row["name"].text
        for row in threads
    }
    found |= {tid: found.get(tid) or name.text for tid, name in in_core.entries}
    called = Counter(found.values())

    def name(tid: ManifestValue) -> str:
        text = found.get(str(integer(tid)))
        if text is None:
            return f"thread {tid}"
        return text if called[text] == 1 else f"{text} ({tid})"

    return name


def recorded_threads(threads: ManifestValue) -> Mapping[str, Any]:
    """Return the threads of a manifest as an answer about the core has them."""
    stacks = (
        (tid, tuple(filter(None, (Place.of(f, _no_source) for f in row["python"]["frames"]))))
        for row in threads
        if (tid := integer(row["tid"])) is not None
    )
    groups = [
        {
            "tids": list(group.members),
            "own": group.own,
            "place": attrs.asdict(group.place) if group.place else None,
            "doing": [],
            "frames": [attrs.asdict(frame) for frame in group.frames],
        }
        for group in group_stacks(stacks)
    ]
    return {"groups": groups}


def _no_source(_file: str, _line: float | None) -> None:
    """Find no line: they are added when the group is shown."""
