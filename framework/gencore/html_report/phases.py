"""Prepares the steps of a dump: the parts of the pause as a bar, and what came after."""

from collections.abc import Iterable
from itertools import dropwhile, takewhile
from typing import Final

import attrs

from gencore.bundle.manifest import ManifestValue

__all__ = ["Part", "PauseBar", "after_pause", "read_pause"]

_FIRST_AFTER: Final = ("libraries", "core")
"""The first step after the pause is one of these; see the manifest's reference."""
_REST: Final = "between the steps"
COLOURS: Final = 6


@attrs.frozen
class Part:
    """One part of the pause; *start* and *share* are shares of the whole."""

    name: str
    duration: float
    start: float
    share: float
    colour: int
    error: str | None


@attrs.frozen
class PauseBar:
    """The parts of the pause in order, and its length in milliseconds."""

    parts: tuple[Part, ...]
    total: float | None


def read_pause(status: ManifestValue) -> PauseBar:
    """Return the pause. The time between its parts is shown as one more part."""
    inside = list(takewhile(_is_inside, _stages(status)))
    spent = sum(step["duration_ms"].amount or 0 for step in inside)
    total = status["pause_ms"].amount
    whole = max(total or 0, spent)
    rest = {"name": _REST, "duration_ms": whole - spent}
    steps = [*inside, ManifestValue(rest)] if whole > spent else inside
    return PauseBar(tuple(_parts(steps, whole)), total)


def after_pause(status: ManifestValue) -> list[ManifestValue]:
    """Return the steps during which the process ran on."""
    return list(dropwhile(_is_inside, _stages(status)))


def _stages(status: ManifestValue) -> ManifestValue:
    """Return the list; manifests before version 1.1 call it ``phases``."""
    return status["stages"] if status["stages"].known else status["phases"]


def _is_inside(step: ManifestValue) -> bool:
    return step["name"].text not in _FIRST_AFTER


def _parts(steps: Iterable[ManifestValue], whole: float) -> Iterable[Part]:
    start = 0.0
    for index, step in enumerate(steps):
        name, duration = str(step["name"]), step["duration_ms"].amount or 0.0
        share = duration / whole if whole else 0.0
        colour = COLOURS if name == _REST else index % COLOURS
        yield Part(name, duration, start, share, colour, step["error"].text)
        start += share
