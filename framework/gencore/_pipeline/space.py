"""Estimates before the pause whether what a dump writes will fit on the disk."""

import errno
from collections.abc import Iterable
from typing import Final

from gencore._pipeline.participant import Participant
from gencore.errors import OutputError
from gencore.output import Output

__all__ = ["USUAL_RATIO", "check_space", "need"]

USUAL_RATIO: Final = 3
"""By which factor a bundle is smaller than the estimate of its core, at least, for large heaps of
objects or strings: 3.7 and 5.4 in ``tests/benchmarks/bundle_size.py``. Random data, and small
processes, which are mostly libraries, compress less: they get a warning."""


def check_space(
    output: Output,
    participants: Iterable[Participant],
    core_size: int | None,
    *,
    streams: bool,
    force: bool,
) -> list[str]:
    """Return warnings about the space for a core of *core_size* bytes at most.

    *streams*: whether the backend needs no file for a core that no collector keeps. *force*: warn
    instead of refusing. Raises `OutputError`.
    """
    free = output.free
    if core_size is None or free is None:
        return []
    usual, most = need(list(participants), core_size, streams=streams)
    if free < usual and not force:
        raise OutputError(
            str(output.directory),
            errno.ENOSPC,
            f"the dump may need {_mib(usual)}, but only {_mib(free)} are free",
            remedy="free some space, choose another directory, pass content='private', or "
            "override this check with force=True",
        )
    if free < most:
        shortage = f"{_mib(free)} were free, and the dump may need up to {_mib(most)}"
        return [f"{output.directory}: {shortage}"]
    return []


def need(participants: list[Participant], core_size: int, *, streams: bool) -> tuple[int, int]:
    """Return the bytes that are needed usually, and if nothing can be compressed."""
    as_file = (
        core_size
        if not streams or any(participant.keeps_core for participant in participants)
        else 0
    )
    packed = core_size if any(participant.packs for participant in participants) else 0
    return as_file + packed // USUAL_RATIO, as_file + packed


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
