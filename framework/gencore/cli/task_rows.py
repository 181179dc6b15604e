"""The asyncio tasks that `gencore.analysis` finds in a core, as rows."""

from collections.abc import Sequence

import attrs

from gencore.bundle.manifest import ManifestValue
from gencore.bundle.source_lines import SourceLines
from gencore.cli.thread_stacks import Frame, integer_of

__all__ = ["AwaitedRow", "LinkRow", "LoopRow", "TaskRow", "TaskRows", "rows_from_core"]


@attrs.frozen(kw_only=True)
class LoopRow:
    """An event loop."""

    address: int
    type: str | None
    tid: int | None
    """Of the thread that runs it."""


@attrs.frozen(kw_only=True)
class AwaitedRow:
    """The function of asyncio in which a task waits, and for which object."""

    function: str | None
    type: str | None
    address: int | None
    detail: str | None


@attrs.frozen(kw_only=True)
class LinkRow:
    """A task that another one waits for."""

    task: int
    """Its address."""
    through: str | None


@attrs.frozen(kw_only=True)
class TaskRow:
    """One task; what is unknown is None."""

    address: int
    name: str
    loop: int
    state: str
    frames: tuple[Frame, ...]
    """The outermost first."""
    awaited: AwaitedRow | None
    awaits: tuple[LinkRow, ...]
    exception: str | None
    cancel_requests: int
    incomplete: str | None


@attrs.frozen(kw_only=True)
class TaskRows:
    """All of a core."""

    python: str
    loops: tuple[LoopRow, ...]
    tasks: tuple[TaskRow, ...]
    cycles: tuple[tuple[int, ...], ...]
    """Addresses of tasks of which each waits for the next, and the last for the first."""
    incomplete: str | None


def rows_from_core(found: ManifestValue, sources: SourceLines) -> TaskRows:
    """Return what `gencore.analysis.answers.tasks` answered, with source lines of the bundle."""
    frames = [_frame(row, sources) for row in found["frames"]]
    awaited = [_awaited(row) for row in found["awaited"]]
    return TaskRows(
        python=".".join(str(number) for number in found["version"].rows),
        loops=tuple(
            LoopRow(
                address=_integer(row["address"]),
                type=row["type_name"].text,
                tid=integer_of(row["tid"]),
            )
            for row in found["loops"]
        ),
        tasks=tuple(_task(row, frames, awaited) for row in found["tasks"]),
        cycles=tuple(tuple(_integer(task) for task in cycle) for cycle in found["cycles"]),
        incomplete=found["incomplete"].text,
    )


def _frame(row: ManifestValue, sources: SourceLines) -> Frame:
    file, line = row["file"].text, integer_of(row["line"])
    return Frame(
        kind="python",
        function=row["function"].text,
        file=file,
        line=line,
        source_line=sources.find(file or "", line),
        library=None,
        locals=None,
    )


def _awaited(row: ManifestValue) -> AwaitedRow:
    return AwaitedRow(
        function=row["function"].text,
        type=row["type_name"].text,
        address=integer_of(row["address"]),
        detail=row["detail"].text,
    )


def _task(row: ManifestValue, frames: Sequence[Frame], awaited: Sequence[AwaitedRow]) -> TaskRow:
    places = [_integer(place) for place in row["frames"]]
    thing = integer_of(row["awaited"])
    links = [link.rows for link in row["awaits"]]
    return TaskRow(
        address=_integer(row["address"]),
        name=row["name"].text or "",
        loop=_integer(row["loop"]),
        state=row["state"].text or "unknown",
        frames=tuple(frames[place] for place in reversed(places) if place < len(frames)),
        awaited=awaited[thing] if thing is not None and thing < len(awaited) else None,
        awaits=tuple(
            LinkRow(task=_integer(link[0]), through=link[1].text)
            for link in links
            if len(link) > 1
        ),
        exception=row["exception"].text,
        cancel_requests=_integer(row["cancel_requests"]),
        incomplete=row["incomplete"].text,
    )


def _integer(value: ManifestValue) -> int:
    return integer_of(value) or 0
