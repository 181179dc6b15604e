"""Prepares the types that have grown since an earlier dump, as `gencore diff` has them."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gencore.bundle.manifest import ManifestValue

__all__ = ["Growth", "read_growth"]

_MOST_HOLDERS: Final = 3


@attrs.frozen
class Growth:
    """A type of which there are more objects, or larger ones."""

    name: str
    before: float
    after: float
    """Objects."""
    size: float
    """Bytes that were added."""
    holders: tuple[str, ...]
    """What holds more of them than before, the most first."""


def read_growth(found: Mapping[str, Any] | None) -> list[Growth] | None:
    """Return a row for each type; None if there was no comparison."""
    return None if found is None else [_growth(row) for row in ManifestValue(found)["grown"]]


def _growth(row: ManifestValue) -> Growth:
    def number(name: str) -> float:
        return row[name].amount or 0

    more = (
        holder
        for holder in row["holders"]
        if (holder["after"].amount or 0) > (holder["before"].amount or 0)
    )
    return Growth(
        str(row["type"]),
        number("count_before"),
        number("count_after"),
        max(0, number("size_after") - number("size_before")),
        tuple(str(holder["way"]) for holder in more)[:_MOST_HOLDERS],
    )
