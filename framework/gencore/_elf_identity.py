"""Identifies an ELF file other than a core by its GNU build ID and its soname, see elf(5).

Of a file of this machine all segments are looked at. An image out of a core is a stranger's, and
there are as many as a core has rows: of these it is the notes in the beginning.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import BinaryIO, Final

from gencore._elf_header import Segment, read_at, read_header, segments_of
from gencore.errors import IntegrityError

__all__ = ["BEGINNING", "build_id_of", "read_identity"]

BEGINNING: Final = 1 << 16
"""Bytes of a file in which its build ID is sought if the rest is not available."""

_ELF64: Final = b"\x7fELF\x02\x01"
"""Magic; 64 bits, little-endian."""
_FILE_HEADER: Final = struct.Struct("<32xQ14xHH6x")
"""``Elf64_Ehdr``: where the program headers begin, their size and number."""
_PROGRAM_HEADER: Final = struct.Struct("<I4xQ16xQ16x")
"""``Elf64_Phdr``: type, offset, size in the file."""
_PT_LOAD, _PT_DYNAMIC, _PT_NOTE = 1, 2, 4
_NT_GNU_BUILD_ID: Final = 3
_DYNAMIC: Final = {32: "iI", 64: "qQ"}
"""``Elf32_Dyn`` and ``Elf64_Dyn``: tag and value."""
_DT_NULL, _DT_STRTAB, _DT_SONAME = 0, 5, 14
_LARGEST: Final = 1 << 20
"""Bytes of notes or dynamic entries that are looked at: a file may be sparse, and claim any."""
_LONGEST_NAME: Final = 4096


def read_identity(file: BinaryIO) -> tuple[str | None, str | None]:
    """Return an ELF file's GNU build ID in hexadecimal, and its soname; None for what it lacks.

    Raises `IntegrityError` if *file* is not a readable ELF file, and OSError.
    """
    try:
        return _read_identity(file)
    except IntegrityError as error:
        raise IntegrityError(f"not a readable ELF file: {error}") from error


def _read_identity(file: BinaryIO) -> tuple[str | None, str | None]:
    header = read_header(file)
    segments = list(segments_of(file, header))
    notes = (_content(file, segment) for segment in segments if segment.type == _PT_NOTE)
    found = (build_id for data in notes for build_id in _build_ids_in(data, header.byte_order))
    build_id = next(found, None)
    layout = struct.Struct(header.byte_order + _DYNAMIC[header.bits])
    return build_id, _soname(file, segments, layout)


def _content(file: BinaryIO, segment: Segment) -> bytes:
    return read_at(file, segment.offset, min(segment.size, _LARGEST))


def _soname(file: BinaryIO, segments: Sequence[Segment], layout: struct.Struct) -> str | None:
    """Return what DT_SONAME leads to in the table of names."""
    tags: dict[int, int] = {}
    for segment in segments:
        if segment.type == _PT_DYNAMIC:
            data = _content(file, segment)
            rows = layout.iter_unpack(data[: len(data) - len(data) % layout.size])
            tags |= dict(takewhile(lambda row: row[0] != _DT_NULL, rows))
    if _DT_SONAME not in tags or _DT_STRTAB not in tags:
        return None
    for segment in segments:
        begin = tags[_DT_STRTAB] - segment.address + tags[_DT_SONAME]
        if segment.type == _PT_LOAD and 0 <= begin < segment.size:
            size = min(segment.size - begin, _LONGEST_NAME)
            name = read_at(file, segment.offset + begin, size)
            return name.partition(b"\0")[0].decode(errors="replace")
    return None


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


def _build_ids_in(notes: bytes, byte_order: str = "<") -> Iterator[str]:
    head, at = struct.Struct(f"{byte_order}III"), 0  # sizes of name and data, type
    while at + head.size <= len(notes):
        name_size, size, kind = head.unpack_from(notes, at)
        name = at + head.size
        begin = name + -(-name_size // 4) * 4
        if kind == _NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0":
            yield notes[begin : begin + size].hex()
        at = begin + -(-size // 4) * 4
