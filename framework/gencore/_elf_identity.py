"""Identifies an ELF file other than a core by its GNU build ID and its soname, see elf(5).

pyelftools reads whole files, of this machine. An image out of a core is a stranger's, and there
are as many as a core has rows: its few headers are parsed here.
"""

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

_ELF64: Final = b"\x7fELF\x02\x01"
"""Magic; 64 bits, little-endian."""
_FILE_HEADER: Final = struct.Struct("<32xQ14xHH6x")
"""``Elf64_Ehdr``: where the program headers begin, their size and number."""
_PROGRAM_HEADER: Final = struct.Struct("<I4xQ16xQ16x")
"""``Elf64_Phdr``: type, offset, size in the file."""
_PT_NOTE: Final = 4
_NOTE: Final = struct.Struct("<III")
_NT_GNU_BUILD_ID: Final = 3


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
    """Return the GNU build ID of an ELF file of which only the beginning is available, or None.

    The notes looked at have no more bytes than the image, however many program headers lead to
    them: a hostile image costs no more than its length deserves.
    """
    left = len(image)
    for begin, size in _note_places(image):
        left -= size
        if left < 0:
            break
        for found in _build_ids_in(image[begin : begin + size]):
            return found
    return None


def _note_places(image: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and size of every PT_NOTE of a 64-bit file."""
    if len(image) < _FILE_HEADER.size or image[:6] != _ELF64:
        return
    offset, row_size, count = _FILE_HEADER.unpack_from(image)
    if row_size != _PROGRAM_HEADER.size:
        return
    end = min(offset + count * row_size, len(image) - row_size + 1)
    for at in range(offset, end, row_size):
        kind, begin, size = _PROGRAM_HEADER.unpack_from(image, at)
        if kind == _PT_NOTE:
            yield begin, size


def _build_ids_in(notes: bytes) -> Iterator[str]:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, at)
        name = at + _NOTE.size
        begin = name + -(-name_size // 4) * 4
        if kind == _NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0":
            yield notes[begin : begin + size].hex()
        at = begin + -(-size // 4) * 4


def _build_ids(segment: Any) -> Iterator[str]:
    if isinstance(segment, NoteSegment):
        notes = segment.iter_notes()
        yield from (note["n_desc"] for note in notes if note["n_type"] == "NT_GNU_BUILD_ID")
