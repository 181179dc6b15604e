"""Identifies an ELF file other than a core by its GNU build ID and its soname.

pyelftools reads the format, elf(5).
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from gencore.errors import IntegrityError

__all__ = ["BEGINNING", "MALFORMED", "build_id_of", "read_identity"]

BEGINNING: Final = 1 << 16
"""Bytes of a file in which its build ID is sought if the rest is not available."""
MALFORMED: Final = (ELFError, ConstructError, struct.error, OverflowError, ValueError)
"""What pyelftools raises for a malformed file."""


class _SegmentsOnly(ELFFile):
    """An ELF file whose sections are not looked at: of each, pyelftools would parse the tables."""

    def num_sections(self) -> int:
        return 0


def read_identity(file: BinaryIO) -> tuple[str | None, str | None]:
    """Return an ELF file's GNU build ID in hexadecimal, and its soname; None for what it lacks.

    Raises `IntegrityError` if *file* is not a readable ELF file.
    """
    build_id = soname = None
    try:
        for segment in _SegmentsOnly(file).iter_segments():
            build_id = next(_build_ids(segment), build_id)
            if isinstance(segment, DynamicSegment):
                tags: Iterator[Any] = segment.iter_tags("DT_SONAME")
                soname = next((tag.soname for tag in tags), None)
    except MALFORMED as error:
        raise IntegrityError(f"not a readable ELF file: {error}") from error
    return build_id, soname


def build_id_of(image: bytes) -> str | None:
    """Return the GNU build ID of an ELF file of which only the beginning is available, or None."""
    sections = slice(40, 48), slice(58, 64)  # e_shoff; e_shentsize, e_shnum, e_shstrndx: elf(5)
    data = bytearray(image)
    for place in sections:
        data[place] = bytes(place.stop - place.start)
    try:
        segments = ELFFile(io.BytesIO(data)).iter_segments()
        return next((found for segment in segments for found in _build_ids(segment)), None)
    except MALFORMED:
        return None


def _build_ids(segment: Any) -> Iterator[str]:
    if isinstance(segment, NoteSegment):
        notes = segment.iter_notes()
        yield from (note["n_desc"] for note in notes if note["n_type"] == "NT_GNU_BUILD_ID")
