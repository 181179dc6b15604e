"""A read-only view of an ELF core: program headers, notes, threads, mapped files, completeness.

The formats are those of elf(5), core(5) and the kernel's ``fs/binfmt_elf.c``. A hostile core may
claim any number of rows, and must not cost more memory than an honest one.
"""

import io
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import attrs

from gencore._elf_header import ElfHeader, read_header
from gencore._elf_identity import BEGINNING, build_id_of
from gencore.errors import IntegrityError

__all__ = [
    "NT_PRPSINFO",
    "NT_PRSTATUS",
    "NT_SIGINFO",
    "CoreFile",
    "FileMapping",
    "Note",
    "ProgramHeader",
    "RecordedThread",
]

NT_PRSTATUS: Final = "NT_PRSTATUS"
"""The type of a thread's note: its tid and registers."""
NT_PRPSINFO: Final = "NT_PRPSINFO"
"""The type of the process's note: its ids and command line."""
NT_SIGINFO: Final = "NT_SIGINFO"
"""The type of the note on the signal that ended a process; in our cores it is all zeros."""

_MOST: Final = 1 << 21
"""Rows that a table may have: twice the mappings that the most generous distribution permits."""
_LARGEST_NOTES: Final = 128 << 20
"""Bytes; a thread has four KiB at most, with AVX-512."""
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
"""``Elf64_Phdr``: type, flags, offset, address twice, size in file and in memory, alignment."""
_PT_LOAD, _PT_NOTE = 1, 4
_SECTION_INFO: Final = struct.Struct("<44xI16x")
"""``Elf64_Shdr``: where the first one has the number of program headers, if it is `_PN_XNUM`."""
_ET_CORE: Final = 4
_MACHINES: Final = {
    number: f"EM_{name}"
    for number, name in {
        21: "PPC64",
        22: "S390",
        62: "X86_64",
        183: "AARCH64",
        243: "RISCV",
        258: "LOONGARCH",
    }.items()
}
_NOTE: Final = struct.Struct("<III")
"""``Elf64_Nhdr``: the sizes of name and data, the type; both are padded to four bytes."""
_NOTE_TYPES: Final = {
    1: NT_PRSTATUS,
    2: "NT_FPREGSET",
    3: NT_PRPSINFO,
    4: "NT_TASKSTRUCT",
    6: "NT_AUXV",
    0x53494749: NT_SIGINFO,
    0x46494C45: "NT_FILE",
}
_FILE_TABLE: Final = struct.Struct("<QQ")
"""NT_FILE: the number of rows, the unit of their offsets; the names follow the rows."""
_FILE_ROW: Final = struct.Struct("<QQQ")
_PN_XNUM: Final = 0xFFFF
_NT_GENCORE: Final = 0x47435231
"""The type of the note in which our Linux backends list the threads; its owner is GENCORE."""
_NEEDED: Final = {
    "NT_PRSTATUS": "no registers",
    "NT_AUXV": "no auxiliary vector, so gdb finds no libraries",
    "NT_PRPSINFO": "no process information, so pystack rejects the core",
    "NT_FILE": "no list of mapped files, so lldb and py-spy find no libraries",
}
"""Notes without which a reader fails, and how."""
_THREAD_WORDS: Final = 4
"""``thread TID QUALITY NAME``; the name may be empty, and may contain spaces."""
_TID: Final = re.compile(r"[0-9]{1,10}")
_ELF_MAGIC: Final = b"\x7fELF"
_PR_PID: Final = struct.Struct("32xi")
"""``struct elf_prstatus`` of a 64-bit kernel: siginfo 12, cursig 2 + 2, sigpend 8, sighold 8."""


@attrs.frozen
class ProgramHeader:
    """One PT_LOAD: a piece of memory and where its bytes are."""

    address: int
    memory_size: int
    offset: int
    file_size: int
    flags: int


@attrs.frozen
class Note:
    """One note. `offset` is where `data` begins in the file, in bytes."""

    owner: str
    type: str | int
    """The name of the type if it is one that any core may have, its number otherwise."""
    offset: int
    data: bytes


@attrs.frozen
class FileMapping:
    """One row of NT_FILE. Addresses and the offset in the file are in bytes."""

    path: str
    start: int
    end: int
    file_offset: int


@attrs.frozen
class RecordedThread:
    """A thread as the backend recorded it at the instant, and how exact its registers are."""

    tid: int
    registers: str
    """``exact``, ``partial`` or ``missing``."""
    name: str


class CoreFile:
    """An open core. Raises `IntegrityError` if the file is not a readable ELF core."""

    def __init__(
        self, source: Path | str | BinaryIO | io.BufferedIOBase, *, name: str = "core"
    ) -> None:
        """Open a path, or take over an open file; only its headers are read here.

        *name* is what errors call an open file.
        """
        if isinstance(source, Path | str):
            self._file: BinaryIO | io.BufferedIOBase = Path(source).open("rb")  # noqa: SIM115 - closed by close()
            self._path = str(source)
        else:
            self._file, self._path = source, name
        try:
            self._elf = self._read_header()
            self._size = self._file.seek(0, 2)
        except IntegrityError:
            self.close()
            raise

    def _read_header(self) -> ElfHeader:
        try:
            header = read_header(self._file)
        except IntegrityError as error:
            raise IntegrityError(f"{self._path}: not an ELF file: {error}") from error
        if header.type != _ET_CORE:
            raise IntegrityError(f"{self._path}: an ELF file, but not a core")
        if (header.bits, header.byte_order) != (64, "<"):
            raise IntegrityError(f"{self._path}: not a core of a 64-bit little-endian machine")
        return header

    @cached_property
    def program_headers(self) -> tuple[ProgramHeader, ...]:
        """Every PT_LOAD in file order."""
        return tuple(header for kind, header in self._segments if kind == _PT_LOAD)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Every note of every PT_NOTE, in file order, and so of a compressed core in one pass."""
        segments = sorted(self._note_segments, key=lambda segment: segment.offset)
        if any(a.offset + a.file_size > b.offset for a, b in pairwise(segments)):
            raise IntegrityError(f"{self._path}: overlapping notes")
        if (size := sum(s.file_size for s in segments)) > _LARGEST_NOTES:
            raise IntegrityError(
                f"{self._path}: {size:,} bytes of notes; the limit is {_LARGEST_NOTES:,}"
            )
        read = (
            note for s in segments for note in self._parse(self._read(s.offset, s.file_size), s)
        )
        found = tuple(islice(read, _MOST + 1))
        if len(found) > _MOST:
            raise IntegrityError(f"{self._path}: more than {_MOST:,} notes")
        return found

    def _parse(self, data: bytes, segment: ProgramHeader) -> Iterator[Note]:
        at = 0
        while at + _NOTE.size <= len(data):
            name_size, size, kind = _NOTE.unpack_from(data, at)
            name = at + _NOTE.size
            begin = name + _padded(name_size)
            if begin + size > len(data):
                raise IntegrityError(f"{self._path}: a note extends beyond its segment")
            owner = _text(data[name : name + name_size]).rstrip("\0")
            description = data[begin : begin + size]
            yield Note(owner, _NOTE_TYPES.get(kind, kind), segment.offset + begin, description)
            at = begin + _padded(size)

    @property
    def thread_ids(self) -> tuple[int, ...]:
        """The tid in each NT_PRSTATUS; the first is the thread that a debugger selects."""
        return tuple(_PR_PID.unpack_from(data)[0] for data in self.thread_states)

    @property
    def thread_states(self) -> tuple[bytes, ...]:
        """Each NT_PRSTATUS that has a tid; it may end behind that.

        The numbers of types belong to their owner: another's notes may use the same.
        """
        own = (n.data for n in self.notes if (n.owner, n.type) == ("CORE", NT_PRSTATUS))
        return tuple(data for data in own if len(data) >= _PR_PID.size)

    @cached_property
    def mapped_ranges(self) -> tuple[FileMapping, ...]:
        """The rows of NT_FILE, in order of address."""
        tables = [note.data for note in self.notes if note.type == "NT_FILE"]
        rows = tuple(islice((row for data in tables for row in self._file_rows(data)), _MOST + 1))
        if len(rows) > _MOST:
            raise IntegrityError(f"{self._path}: more than {_MOST:,} mapped files")
        return rows

    def _file_rows(self, table: bytes) -> Iterator[FileMapping]:
        head = table[: _FILE_TABLE.size].ljust(_FILE_TABLE.size, b"\0")
        count, unit = _FILE_TABLE.unpack(head)
        rows, names = len(head), len(head) + count * _FILE_ROW.size
        found = table[names:].split(b"\0", count) if count <= _MOST else []
        if len(found) != count + 1:
            raise IntegrityError(f"{self._path}: invalid list of {count:,} mapped files")
        ranges = _FILE_ROW.iter_unpack(table[rows:names])
        for (start, end, offset), name in zip(ranges, found, strict=False):
            yield FileMapping(_text(name), start, end, offset * unit)

    @cached_property
    def build_ids(self) -> dict[str, str | None]:
        """The GNU build ID of every mapped ELF file, by path, as memory had it.

        None if the file has no build ID; a file whose beginning is not in the core is left out.
        Files are read in the order in which the core has them, and none beyond where the next one
        begins: so no byte is read twice, however many rows lead to it.
        """
        images: dict[int, tuple[int, list[str]]] = {}
        for row in self.mapped_ranges:
            begin, size = self._place(row.start, min(row.end - row.start, BEGINNING))
            if size > 0 and not row.file_offset:
                images.setdefault(begin, (size, []))[1].append(row.path)
        found: dict[str, str | None] = {}
        for begin, behind in pairwise([*sorted(images), self._size]):
            size, paths = images[begin]
            image = self._read(begin, min(size, behind - begin))
            if image.startswith(_ELF_MAGIC):
                build_id = build_id_of(image)
                for path in paths:
                    found.setdefault(path, build_id)
        return found

    def _place(self, address: int, size: int) -> tuple[int, int]:
        """Return where *size* bytes of memory are, or how many of them one program header has."""
        at = bisect_right(self._by_address, address, key=lambda header: header.address) - 1
        if at < 0:
            return 0, 0
        header = self._by_address[at]
        begin = header.offset + address - header.address
        return begin, min(size, min(header.offset + header.file_size, self._size) - begin)

    @cached_property
    def _by_address(self) -> list[ProgramHeader]:
        return sorted(self.program_headers, key=lambda header: header.address)

    def _read(self, offset: int, size: int) -> bytes:
        """Read exactly *size* bytes. Raises `IntegrityError` if the file has fewer."""
        if not 0 <= offset <= offset + size <= self._size:
            raise IntegrityError(f"{self._path}: a header points beyond the end of the file")
        self._file.seek(offset)
        return self._file.read(size)

    @property
    def machine(self) -> str:
        """The processor, as elf(5) calls it, for example ``EM_X86_64``."""
        return _MACHINES.get(self._elf.machine, f"machine {self._elf.machine}")

    @property
    def counts_at_end(self) -> bool:
        """Whether section header 0 has the number of program headers (PN_XNUM, elf(5))."""
        return self._elf.segment_count == _PN_XNUM

    @property
    def end_of_headers(self) -> int:
        """Bytes that the file must have for every program header to be readable."""
        return self._elf.segments_at + self._segment_count * _PROGRAM_HEADER.size

    @property
    def end_of_notes(self) -> int:
        """Bytes that the file must have for every note to be readable."""
        return max((s.offset + s.file_size for s in self._note_segments), default=0)

    @property
    def promised_size(self) -> int:
        """Bytes that the file must have for every header to be true."""
        header = self._elf
        end = header.sections_at + header.section_count * header.section_size
        return max([end, *(s.offset + s.file_size for _, s in self._segments)])

    @property
    def truncation(self) -> str | None:
        """How much of the file there is; None if all of it."""
        if self._size >= self.promised_size:
            return None
        return f"truncated: {self._size:,} of {self.promised_size:,} bytes"

    @property
    def recorded_threads(self) -> tuple[RecordedThread, ...]:
        """The threads that the backend listed in its own note; empty if there is none."""
        own = (n.data for n in self.notes if (n.owner, n.type) == ("GENCORE", _NT_GENCORE))
        rows = (line.split(" ", 3) for data in own for line in self._lines(data))
        return tuple(
            RecordedThread(int(row[1]), row[2], row[3])
            for row in rows
            if row[0] == "thread" and len(row) == _THREAD_WORDS and _TID.fullmatch(row[1])
        )

    def _lines(self, data: bytes) -> list[str]:
        if data.count(b"\n") > _MOST:
            raise IntegrityError(f"{self._path}: a list of more than {_MOST:,} threads")
        return _text(data).split("\n")

    @property
    def flaw(self) -> str | None:
        """What a debugger needs and the headers or notes lack; None if nothing."""
        if not self.program_headers:
            return "no memory (no PT_LOAD program header)"
        there = {note.type for note in self.notes if note.owner == "CORE"}
        for name, consequence in _NEEDED.items():
            if name not in there:
                return f"{consequence} (no {name} note)"
        promised = {t.tid for t in self.recorded_threads if t.registers != "missing"}
        if lost := promised.difference(self.thread_ids):
            return f"the registers of {len(lost)} of {len(promised)} threads are missing"
        return None

    def why_incomplete(self) -> str | None:
        """Return why this core is incomplete, or None if it is complete."""
        return self.truncation or self.flaw

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the core."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    @cached_property
    def _segment_count(self) -> int:
        count, size = self._elf.segment_count, self._elf.segment_size
        if count == _PN_XNUM:
            (count,) = _SECTION_INFO.unpack(self._read(self._elf.sections_at, _SECTION_INFO.size))
        if count > _MOST or (count and size != _PROGRAM_HEADER.size):
            raise IntegrityError(
                f"{self._path}: unsupported: {count:,} program headers of {size} bytes each"
            )
        return count

    @cached_property
    def _segments(self) -> list[tuple[int, ProgramHeader]]:
        """Every program header, with its type."""
        table = self._read(self._elf.segments_at, self._segment_count * _PROGRAM_HEADER.size)
        return [
            (kind, ProgramHeader(address, memory_size, offset, file_size, flags))
            for kind, flags, offset, address, _, file_size, memory_size, _ in (
                _PROGRAM_HEADER.iter_unpack(table)
            )
        ]

    @property
    def _note_segments(self) -> list[ProgramHeader]:
        return [header for kind, header in self._segments if kind == _PT_NOTE]


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
