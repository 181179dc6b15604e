"""The header of an ELF file and those of its segments, of either class and byte order: elf(5)."""

import struct
from collections.abc import Iterator
from io import BufferedIOBase
from typing import BinaryIO, Final, NamedTuple

from gencore.errors import IntegrityError

__all__ = ["ElfHeader", "Readable", "Segment", "read_at", "read_header", "segments_of"]

Readable = BinaryIO | BufferedIOBase

_IDENT: Final = 16
"""Bytes of ``e_ident``: the magic, then class and byte order."""
_MAGIC: Final = b"\x7fELF"
_BITS: Final = {1: 32, 2: 64}
_BYTE_ORDERS: Final = {1: "<", 2: ">"}
_HEADERS: Final = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
"""``Elf32_Ehdr`` and ``Elf64_Ehdr`` behind ``e_ident``."""
_SEGMENTS: Final = {32: "III4xI12x", 64: "I4xQQ8xQ16x"}
"""``Elf32_Phdr`` and ``Elf64_Phdr``: type, offset, address and size in the file."""


class ElfHeader(NamedTuple):
    """The header of a file: what it is, and where its tables are."""

    bits: int
    byte_order: str
    """As `struct` has it."""
    type: int
    machine: int
    segments_at: int
    segment_size: int
    segment_count: int
    sections_at: int
    section_size: int
    section_count: int


class Segment(NamedTuple):
    """What a program header says of a part of the file."""

    type: int
    offset: int
    address: int
    size: int
    """Bytes in the file."""


def read_header(file: Readable) -> ElfHeader:
    """Read the beginning. Raises `IntegrityError` if *file* is no ELF file, and OSError."""
    ident = read_at(file, 0, _IDENT)
    bits, byte_order = _BITS.get(ident[4]), _BYTE_ORDERS.get(ident[5])
    if not ident.startswith(_MAGIC) or bits is None or byte_order is None:
        raise IntegrityError("its magic number, class or byte order is another one")
    layout = struct.Struct(byte_order + _HEADERS[bits])
    fields = layout.unpack(read_at(file, _IDENT, layout.size))
    kind, machine, _, _, segments_at, sections_at, _, _, *sizes = fields
    segment_size, segment_count, section_size, section_count, _ = sizes
    return ElfHeader(
        bits=bits,
        byte_order=byte_order,
        type=kind,
        machine=machine,
        segments_at=segments_at,
        segment_size=segment_size,
        segment_count=segment_count,
        sections_at=sections_at,
        section_size=section_size,
        section_count=section_count,
    )


def segments_of(file: Readable, header: ElfHeader) -> Iterator[Segment]:
    """Yield what the program headers say. Raises `IntegrityError` and OSError."""
    layout = struct.Struct(header.byte_order + _SEGMENTS[header.bits])
    if header.segment_count and header.segment_size != layout.size:
        raise IntegrityError(f"its program headers have {header.segment_size} bytes each")
    table = read_at(file, header.segments_at, header.segment_count * layout.size)
    return (Segment(*row) for row in layout.iter_unpack(table))


def read_at(file: Readable, offset: int, size: int) -> bytes:
    """Read exactly *size* bytes. Raises `IntegrityError` if they are not there, and OSError."""
    try:
        file.seek(offset)
    except (OverflowError, ValueError) as error:  # of what is no file of the system
        raise IntegrityError(f"nothing can be at {offset:,}") from error
    data = file.read(size)
    if len(data) < size:
        raise IntegrityError(f"it ends before {offset + size:,}")
    return data
