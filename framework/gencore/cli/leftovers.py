"""What dumps that were killed have left in a directory, as rows for commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gencore._final_directory import OWN_DIRECTORIES
from gencore._private_directory import DIRECTORY, Leftover, leftovers, sweep
from gencore.errors import OutputError

__all__ = ["find_leftovers", "sweep_leftovers"]


def find_leftovers(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each private directory, those in use included. Raises `OutputError`."""
    for place in _places(directory):
        with _opened(place) as fd:
            yield from (_row(place, found) for found in leftovers(fd))


def sweep_leftovers(directory: Path) -> Iterator[dict[str, Any]]:
    """Remove those of dead makers; yield a row for each. Raises `OutputError`."""
    for place in _places(directory):
        with _opened(place) as fd:
            for found, error in sweep(fd):
                yield {**_row(place, found), "error": error}


def _places(directory: Path) -> Iterator[Path]:
    """Yield it, and the directories of ours in it."""
    yield directory
    yield from (path for path in directory.glob(OWN_DIRECTORIES) if os.access(path, os.R_OK))


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        fd = os.open(directory, DIRECTORY & ~os.O_NOFOLLOW)
    except OSError as error:
        raise OutputError(str(directory), error.errno or 0, "cannot be read") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _row(place: Path, found: Leftover) -> dict[str, Any]:
    return {
        "kind": "leftover",
        "path": str(place / found.name),
        "size": found.size,
        "used_at": datetime.fromtimestamp(found.changed_at, UTC),
        "state": found.state,
    }
