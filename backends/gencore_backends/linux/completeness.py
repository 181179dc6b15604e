"""Whether a core is complete: the child finished, all bytes are there, headers and notes too."""

from pathlib import Path
from typing import BinaryIO

from gencore import IntegrityError
from gencore.corefile import CoreFile

__all__ = ["why_incomplete"]


def why_incomplete(
    core: Path | BinaryIO, size: int, missing: int, unfinished: str | None
) -> str | None:
    """Return why the core is incomplete, or None if it is complete.

    *core* is its file, or its beginning with all headers and notes; *size* bytes were promised,
    of which *missing* are missing; *unfinished* is the reason why the writer did not finish.
    """
    if missing:
        why = f" ({unfinished})" if unfinished else ""
        return f"truncated: {size - missing:,} of {size:,} bytes{why}"
    if unfinished is not None:
        return unfinished
    try:
        with CoreFile(core) as opened:
            return opened.flaw
    except IntegrityError as error:
        return str(error)
