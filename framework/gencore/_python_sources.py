"""Selects the Python sources for a bundle, so that stacks show lines on another machine."""

import os.path
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from gencore.libraries import Library, describe
from gencore.process import MappedFile

__all__ = ["LARGEST_TOTAL", "describe_sources"]

LARGEST_TOTAL: Final = 16 << 20
"""Bytes of all sources of one dump; what would exceed them is left out."""
_INTERPRETER: Final = ("python", "libpython")


def describe_sources(
    on_stacks: Iterable[str], mapped: Iterable[MappedFile]
) -> tuple[Library, ...]:
    """Return the facts of the files *on_stacks* and of the interpreter's helper for gdb.

    Names that are not absolute paths (``<frozen runpy>``) have no file and no row. Any other file
    that cannot be included has a row with the reason.
    """
    absolute = (os.path.normpath(path) for path in on_stacks if Path(path).is_absolute())
    paths = dict.fromkeys((*absolute, *_gdb_helpers(mapped)))
    return tuple(_within_limit(map(_describe, paths)))


def _describe(path: str) -> Library:
    return describe(MappedFile(path=path))


def _gdb_helpers(mapped: Iterable[MappedFile]) -> Iterator[str]:
    """Yield the files that CPython's ``make install`` puts beside the file they explain."""
    for file in mapped:
        helper = f"{file.path}-gdb.py"
        if Path(helper).name.startswith(_INTERPRETER) and Path(helper).is_file():
            yield helper


def _within_limit(sources: Iterable[Library]) -> Iterator[Library]:
    left = LARGEST_TOTAL
    for source in sources:
        if (source.size or 0) > left:
            reason = f"{source.size:,} bytes; all sources of a dump may have {LARGEST_TOTAL:,}"
            yield attrs.evolve(source, status="skipped", reason=reason, sha256=None)
        else:
            left -= source.size or 0
            yield source
