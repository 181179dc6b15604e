"""The memory of a dumped process: what its core has, and file pages from the bundle's libraries.

Everything here is read from files of unknown origin. An address that is not there raises
`AbsentMemory`, which a caller turns into a value or lets through; nothing is allocated by a size
that the files claim. The files are mapped, so that only what is looked at is read.
"""

import mmap
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Final, Self

import attrs

from gencore._elf_identity import BEGINNING, build_id_of
from gencore.corefile import CoreFile, FileMapping, ProgramHeader
from gencore.errors import IntegrityError

__all__ = ["AbsentMemory", "Memory", "Piece"]

WRITABLE: Final = 2
"""PF_W of elf(5), in the flags of a program header."""
_WORD: Final = struct.Struct("<Q")
_LONGEST_STRING: Final = 4096
_MOST_COPIES: Final = 2
"""Times that a core may be in memory: no segments share bytes of it, unless one is damaged."""
_KERNEL: Final = 1 << 63
"""Where the kernel's half of all addresses begins: no process has memory there."""


class AbsentMemory(IntegrityError):
    """Memory that neither the core nor the bundle's files have, or that never was mapped."""

    @classmethod
    def at(cls, address: int, size: int) -> Self:
        """Make one for *size* bytes from *address* on."""
        return cls(f"memory is missing: {size:,} bytes at {address:#x}")


@attrs.frozen(eq=False)
class Piece:
    """Memory from `start` to `end` whose bytes lie in one file, at `offset` of `source`."""

    start: int
    end: int
    source: memoryview
    """The whole file."""
    offset: int
    writable: bool
    path: str | None
    """The file that was mapped there; None for anonymous memory."""


class Memory:
    """Pieces in order of address, none of which overlaps another."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        """Take over pieces; of those that overlap, the first in order of address is kept whole.

        What lies in the kernel's half of all addresses is left out.
        """
        self.pieces = list(_without_overlaps(pieces))
        self._starts = [piece.start for piece in self.pieces]

    @classmethod
    def of_core(
        cls, core: CoreFile, path: Path, folder: Path | None = None, *, this_machine: bool = False
    ) -> Self:
        """Map *core*, which was opened from *path*.

        File pages that it lacks are taken from *folder*, an unpacked bundle, where each library
        lies under its own path; a file whose build ID differs from the one in the core is not
        used. With *this_machine*, a file that the folder lacks is taken from this machine if its
        build ID is known to agree. The files stay mapped as long as the memory, or what was read
        of it, is used. Raises `IntegrityError` if the core is unreadable.
        """
        content = _mapped(path)
        if content is None:
            raise IntegrityError(f"{path}: unreadable")
        rows = sorted(core.mapped_ranges, key=attrgetter("start"))
        dumped = _dumped(core.program_headers, content, rows)
        return cls([*dumped, *_missing(dumped, rows, _Files(core, folder, this_machine))])

    def piece_at(self, address: int) -> Piece | None:
        """Return the piece that has *address*, or None."""
        index = bisect_right(self._starts, address) - 1
        piece = self.pieces[index] if index >= 0 else None
        return piece if piece is not None and address < piece.end else None

    def read(self, address: int, size: int) -> bytes:
        """Return *size* bytes. Raises `AbsentMemory` if any is missing."""
        return b"".join(list(self._views(address, size)))  # a list: all must be there first

    def word(self, address: int) -> int:
        """Return the unsigned 64-bit number at *address*. Raises `AbsentMemory`."""
        piece = self.piece_at(address)
        if piece is None or address + _WORD.size > piece.end:
            raise AbsentMemory.at(address, _WORD.size)
        number: int = _WORD.unpack_from(piece.source, piece.offset + address - piece.start)[0]
        return number

    def number(self, address: int, size: int) -> int:
        """Return the signed number of *size* bytes at *address*. Raises `AbsentMemory`."""
        return int.from_bytes(self.read(address, size), "little", signed=True)

    def string(self, address: int) -> bytes:
        """Return the bytes before the next NUL, at most 4 KiB. Raises `AbsentMemory`."""
        piece = self.piece_at(address)
        if piece is None:
            raise AbsentMemory.at(address, 1)
        size = min(piece.end - address, _LONGEST_STRING)
        return self.read(address, size).partition(b"\0")[0]

    def _views(self, address: int, size: int) -> Iterator[memoryview]:
        end = address + size
        while address < end:
            piece = self.piece_at(address)
            if piece is None:
                raise AbsentMemory.at(address, end - address)
            here = piece.offset + address - piece.start
            length = min(end, piece.end) - address
            yield piece.source[here : here + length]
            address += length


def _without_overlaps(pieces: Iterable[Piece]) -> Iterator[Piece]:
    end = 0
    for piece in sorted(pieces, key=attrgetter("start")):
        start, ends = max(piece.start, end), min(piece.end, _KERNEL)
        if start < ends:
            offset = piece.offset + start - piece.start
            yield attrs.evolve(piece, start=start, end=ends, offset=offset)
            end = ends


def _dumped(
    headers: Iterable[ProgramHeader], content: memoryview, rows: list[FileMapping]
) -> list[Piece]:
    """Return what the core has, of a truncated one what is left; of a hostile one not all."""
    starts = [row.start for row in rows]
    found = []
    left = _MOST_COPIES * len(content)
    for header in headers:
        there = min(left, max(0, len(content) - header.offset))
        size = min(header.file_size, header.memory_size, there)
        left -= size
        row = rows[max(0, bisect_right(starts, header.address) - 1)] if rows else None
        path = row.path if row and row.start <= header.address < row.end else None
        end, writable = header.address + size, bool(header.flags & WRITABLE)
        found.append(Piece(header.address, end, content, header.offset, writable, path))
    return found


def _missing(dumped: list[Piece], rows: list[FileMapping], files: "_Files") -> Iterator[Piece]:
    """Yield the parts of mapped files between the pieces that the core has."""
    there = list(_without_overlaps(dumped))
    ends = [piece.end for piece in there]
    done = 0
    for row in rows:
        start, end = max(row.start, done), row.end
        index = bisect_right(ends, start)
        while index < len(there) and start < end:
            yield from files.part(row, start, min(end, there[index].start))
            start = max(start, there[index].end)
            index += 1
        yield from files.part(row, start, end)
        done = max(done, end)


class _Files:
    """The mapped files of a core, each of which is opened once, when it is needed."""

    def __init__(self, core: CoreFile, folder: Path | None, this_machine: bool) -> None:  # noqa: FBT001 - private
        self._build_ids = core.build_ids
        self._folder = folder.resolve() if folder else None
        self._this_machine = this_machine
        self._content = cache(self._find)

    def part(self, row: FileMapping, start: int, end: int) -> Iterator[Piece]:
        """Yield what the row's file has for these addresses, if anything."""
        content = self._content(row.path) if start < end else None
        if content is None:
            return
        offset = row.file_offset + start - row.start
        size = min(end - start, len(content) - offset)
        if size > 0:
            yield Piece(start, start + size, content, offset, writable=False, path=row.path)

    def _find(self, path: str) -> memoryview | None:
        known = self._build_ids.get(path)
        places = [(self._inside(path), known is None)]
        if self._this_machine and known is not None:
            places.append((Path(path), False))
        for place, believed in places:
            content = _mapped(place) if place else None
            if content and (believed or build_id_of(bytes(content[:BEGINNING])) == known):
                return content
        return None

    def _inside(self, path: str) -> Path | None:
        """Return the file's place in the folder, out of which no path and no link leads."""
        if self._folder is None or "\0" in path:
            return None
        place = (self._folder / path.lstrip("/")).resolve()
        return place if place.is_relative_to(self._folder) else None


def _mapped(path: Path) -> memoryview | None:
    """Return the bytes of a regular file; None if there are none, or if they are unreadable."""
    try:
        if not path.is_file():  # a device or a pipe could block
            return None
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError, RuntimeError):  # in this order: no file, an empty one, a ring
        return None
