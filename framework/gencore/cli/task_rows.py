"""The asyncio tasks and greenlets that `gencore.analysis` finds in a core, as rows."""

from collections.abc import Sequence
from typing import TypeVar

import attrs

from gencore.bundle.manifest import ManifestValue
from gencore.bundle.source_lines import SourceLines
from gencore.cli.thread_stacks import integer_of

__all__ = [
    "AwaitedRow",
    "FrameRow",
    "GreenletRow",
    "LinkRow",
    "LoopRow",
    "TaskRow",
    "TaskRows",
    "rows_from_core",
]


_Thing = TypeVar("_Thing")


@attrs.frozen(kw_only=True)
class LoopRow:
    """An event loop."""

    address: str
    type: str | None
    tid: int | None
    """Of the thread that runs it."""


@attrs.frozen(kw_only=True)
class FrameRow:
    """One call of a Python function; what is unknown is None."""

    function: str | None
    file: str | None
    line: int | None
    """From 1."""
    source_line: str | None
    """The line itself, if the bundle has it."""


@attrs.frozen(kw_only=True)
class AwaitedRow:
    """The function of asyncio in which a task waits, and for which object."""

    function: str | None
    type: str | None
    address: str | None
    detail: str | None


@attrs.frozen(kw_only=True)
class LinkRow:
    """A task that another one waits for."""

    task: str
    """Its address."""
    through: str | None


@attrs.frozen(kw_only=True)
class TaskRow:
    """One task; what is unknown is None."""

    address: str
    name: str
    loop: str
    state: str
    frames: tuple[FrameRow, ...]
    """The outermost first."""
    awaited: AwaitedRow | None
    awaits: tuple[LinkRow, ...]
    exception: str | None
    cancel_requests: int
    incomplete: str | None


@attrs.frozen(kw_only=True)
class GreenletRow:
    """One greenlet."""

    address: str
    type: str | None
    state: str
    frames: tuple[FrameRow, ...]
    """The outermost first."""
    incomplete: str | None


@attrs.frozen(kw_only=True)
class TaskRows:
    """All of a core."""

    python: str
    loops: tuple[LoopRow, ...]
    tasks: tuple[TaskRow, ...]
    cycles: tuple[tuple[str, ...], ...]
    """Addresses of tasks of which each waits for the next, and the last for the first."""
    greenlets: tuple[GreenletRow, ...]
    incomplete: str | None


def rows_from_core(found: ManifestValue, sources: SourceLines) -> TaskRows:
    """Return what `gencore.analysis.answers.tasks` answered, with source lines of the bundle."""
    frames = [_frame(row, sources) for row in found["frames"]]
    stacks = [_stack(row, frames) for row in found["stacks"]]
    awaited = [_awaited(row) for row in found["awaited"]]
    links = [_links(row) for row in found["links"]]
    return TaskRows(
        python=".".join(str(number) for number in found["version"].rows),
        loops=tuple(
            LoopRow(
                address=_address(row["address"]),
                type=row["type_name"].text,
                tid=integer_of(row["tid"]),
            )
            for row in found["loops"]
        ),
        tasks=tuple(_task(row, stacks, awaited, links) for row in found["tasks"]),
        cycles=tuple(tuple(_address(task) for task in cycle) for cycle in found["cycles"]),
        greenlets=tuple(_greenlet(row, stacks) for row in found["greenlets"]),
        incomplete=found["incomplete"].text,
    )


def _frame(row: ManifestValue, sources: SourceLines) -> FrameRow:
    file, line = row["file"].text, integer_of(row["line"])
    return FrameRow(
        function=row["function"].text,
        file=file,
        line=line,
        source_line=sources.find(file or "", line),
    )


def _awaited(row: ManifestValue) -> AwaitedRow:
    return AwaitedRow(
        function=row["function"].text,
        type=row["type_name"].text,
        address=row["address"].address,
        detail=row["detail"].text,
    )


def _stack(row: ManifestValue, frames: Sequence[FrameRow]) -> tuple[FrameRow, ...]:
    return tuple(frame for place in reversed(row.rows) if (frame := _at(place, frames)))


def _links(row: ManifestValue) -> tuple[LinkRow, ...]:
    pairs = [link.rows for link in row]
    return tuple(
        LinkRow(task=_address(pair[0]), through=pair[1].text) for pair in pairs if len(pair) > 1
    )


def _task(
    row: ManifestValue,
    stacks: Sequence[tuple[FrameRow, ...]],
    awaited: Sequence[AwaitedRow],
    links: Sequence[tuple[LinkRow, ...]],
) -> TaskRow:
    return TaskRow(
        address=_address(row["address"]),
        name=row["name"].text or "",
        loop=_address(row["loop"]),
        state=row["state"].text or "unknown",
        frames=_at(row["stack"], stacks) or (),
        awaited=_at(row["awaited"], awaited),
        awaits=_at(row["awaits"], links) or (),
        exception=row["exception"].text,
        cancel_requests=integer_of(row["cancel_requests"]) or 0,
        incomplete=row["incomplete"].text,
    )


def _greenlet(row: ManifestValue, stacks: Sequence[tuple[FrameRow, ...]]) -> GreenletRow:
    return GreenletRow(
        address=_address(row["address"]),
        type=row["type_name"].text,
        state=row["state"].text or "unknown",
        frames=_at(row["stack"], stacks) or (),
        incomplete=row["incomplete"].text,
    )


def _at(place: ManifestValue, things: Sequence[_Thing]) -> _Thing | None:
    """Return what is at a place of a list; None unless that is one of its places."""
    number = integer_of(place)
    return things[number] if number is not None and number < len(things) else None


def _address(value: ManifestValue) -> str:
    return value.address or ""
