"""How much memory is in small pages: for those the pause of a dump mostly is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gencore._quantities import show_size
from gencore.cli.diagnosis.row import Case, Row
from gencore.target import Target

__all__ = ["small_pages"]

_WORTH_IT: Final = 128 << 20
"""Bytes: a clone takes 2 to 5 ms for as much in small pages."""


def small_pages(case: Case) -> Iterator[Row]:
    """Compare the private memory in small pages with all of it."""
    amounts = _amounts(case.target)
    private = amounts.get("Anonymous")
    if private is None:
        return
    small = max(0, private - amounts.get("AnonHugePages", 0))
    text = f"{show_size(small)} of {show_size(private)} of private memory"
    if case.target.other is None:
        text = f"{text}; compare with a service: gencore doctor --pid PID"
        yield Row("small_pages_bytes", "ok", small, text)
    elif small < _WORTH_IT:
        yield Row("small_pages_bytes", "ok", small, text)
    else:
        text = f"{text}; in huge pages they would make the pause shorter"
        remedy = f"gencore dump --huge-pages {case.target.pid}"
        yield Row("small_pages_bytes", "note", small, text, remedy)


def _amounts(target: Target) -> dict[str, int]:
    """Return the bytes of each kind that a process has; nothing where it may not be read."""
    try:
        lines = Path(target.process_file("smaps_rollup")).read_text().splitlines()[1:]
    except OSError:
        return {}
    rows = (line.split() for line in lines)
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
