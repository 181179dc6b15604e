"""Prepares the list of threads: names, registers, Python stacks."""

from collections import Counter
from typing import Final

import attrs

from gencore.bundle.field import Field

__all__ = ["Frame", "Thread", "read_threads", "registers_summary"]

_REGISTERS: Final = ("exact", "partial", "missing")


@attrs.frozen
class Frame:
    """One call of a stack."""

    function: str
    place: str
    """File and line."""


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


def read_threads(rows: Field) -> list[Thread]:
    """Return the rows of a manifest's ``threads``."""
    return [_thread(row) for row in rows]


def registers_summary(threads: list[Thread]) -> list[tuple[str, int]]:
    """Return how many threads have which registers; states that none is in are left out."""
    found = Counter(thread.registers for thread in threads)
    return [(state, found[state]) for state in (*_REGISTERS, "unknown") if found[state]]


def _thread(row: Field) -> Thread:
    python, registers = row["python"], row["registers"].text
    return Thread(
        name=python["name"].text or str(row["name"]),
        tid=str(row["tid"]),
        registers=registers if registers in _REGISTERS else "unknown",
        reason=row["reason"].text,
        facts=tuple(_facts(row)),
        has_python=python.known,
        frames=tuple(map(_frame, python["frames"])),
        truncated=python["frames_truncated"].text == "yes",
    )


def _facts(row: Field) -> list[str]:
    name, python = row["name"].text, row["python"]
    facts = [f"named {name} by the kernel"] if name and name != python["name"].text else []
    return [*facts, "daemon"] if python["daemon"].text == "yes" else facts


def _frame(frame: Field) -> Frame:
    line = frame["line"].text
    return Frame(str(frame["function"]), f"{frame['file']}:{line}" if line else str(frame["file"]))
