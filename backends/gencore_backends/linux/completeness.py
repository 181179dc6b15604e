"""Whether a core is whole: the child's end, the bytes, and what headers and notes must have."""

from pathlib import Path
from typing import BinaryIO

from gencore import IntegrityError
from gencore.corefile import CoreFile

__all__ = ["why_incomplete"]


def why_incomplete(
    core: Path | BinaryIO, size: int, missing: int, unfinished: str | None
) -> str | None:
    """Return why the core is not whole, or None if it is.

    *core* is its file, or its beginning with all headers and notes; *size* bytes were promised,
    of which *missing* are not there; *unfinished* tells why the writer did not finish.
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
