"""Prepares the list of threads: names, registers, Python stacks."""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Final

import attrs

from gencore.analysis.inspection.origins import Origin, origin_of
from gencore.bundle.manifest import ManifestValue

__all__ = ["Frame", "Thread", "read_threads", "registers_summary"]

_REGISTERS: Final = ("exact", "partial", "missing")


@attrs.frozen
class Frame:
    """One call of a stack."""

    function: str
    place: str
    """File and line."""
    source: str | None
    """The line itself, if it is known."""
    origin: Origin
    """Whose code it is."""


@attrs.frozen
class Run:
    """Frames in a row, of which those of gencore are folded."""

    folded: bool
    frames: tuple[Frame, ...]


@attrs.frozen
class Thread:
    """One thread, as a row of the report."""

    name: str
    tid: str
    registers: str
    """``exact``, ``partial``, ``missing`` or ``unknown``: it becomes the name of a class."""
    reason: str | None
    facts: tuple[str, ...]
    has_python: bool
    frames: tuple[Frame, ...]
    truncated: bool

    @property
    def telling(self) -> Frame | None:
        """The innermost frame of the application; without one, of all but gencore's."""
        return next(
            (
                frame
                for origins in (("application",), ("package", "standard library"), ("gencore",))
                for frame in self.frames
                if frame.origin in origins
            ),
            None,
        )

    @property
    def runs(self) -> list[Run]:
        """The frames, innermost first, those of gencore together."""
        rows = groupby(self.frames, key=lambda frame: frame.origin == "gencore")
        return [Run(folded, tuple(frames)) for folded, frames in rows]


def read_threads(rows: ManifestValue, lines: Mapping[tuple[str, int], str]) -> list[Thread]:
    """Return the rows of a manifest's ``threads``, with the source lines that are available."""
    return [_thread(row, lines) for row in rows]


def registers_summary(threads: list[Thread]) -> list[tuple[str, int]]:
    """Return the number of threads by the state of their registers, without zeros."""
    found = Counter(thread.registers for thread in threads)
    return [(state, found[state]) for state in (*_REGISTERS, "unknown") if found[state]]


def _thread(row: ManifestValue, lines: Mapping[tuple[str, int], str]) -> Thread:
    python, registers = row["python"], row["registers"].text
    return Thread(
        name=python["name"].text or str(row["name"]),
        tid=str(row["tid"]),
        registers=registers if registers in _REGISTERS else "unknown",
        reason=row["reason"].text,
        facts=tuple(_facts(row)),
        has_python=python.known,
        frames=tuple(_frame(frame, lines) for frame in python["frames"]),
        truncated=python["frames_truncated"].text == "yes",
    )


def _facts(row: ManifestValue) -> list[str]:
    name, python = row["name"].text, row["python"]
    facts = [f"named {name} by the kernel"] if name and name != python["name"].text else []
    return [*facts, "daemon"] if python["daemon"].text == "yes" else facts


def _frame(frame: ManifestValue, lines: Mapping[tuple[str, int], str]) -> Frame:
    file, line = str(frame["file"]), frame["line"].text
    source = lines.get((file, int(frame["line"].amount or 0)))
    place = f"{file}:{line}" if line else file
    return Frame(str(frame["function"]), place, source, origin_of(file))
