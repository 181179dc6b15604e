"""A read-only view of an ELF core: program headers, notes, threads, mapped files, completeness.

The formats are those of elf(5), core(5) and the kernel's ``fs/binfmt_elf.c``. pyelftools reads
them; this module adds what cores have and other ELF files have not.
"""

import io
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import attrs
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from gencore.elf_identity import BEGINNING, MALFORMED, build_id_of
from gencore.errors import IntegrityError

__all__ = [
    "NT_PRPSINFO",
    "NT_PRSTATUS",
    "NT_SIGINFO",
    "CoreFile",
    "MappedRange",
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

_PN_XNUM: Final = 0xFFFF
_NT_GENCORE: Final = 0x47435231
"""The type of the note in which our Linux backends list the threads; its owner is GENCORE."""
_NEEDED: Final = {
    "NT_PRSTATUS": "no registers",
    "NT_AUXV": "no auxiliary vector: gdb finds no library",
    "NT_PRPSINFO": "no process information: pystack refuses the core",
    "NT_FILE": "no list of mapped files: lldb and py-spy find no library",
}
"""Notes without which a reader fails, and how."""
_THREAD_WORDS: Final = 4
"""``thread TID QUALITY NAME``; the name may be empty, and may have blanks."""
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
    """The name of the type where pyelftools knows it, its number otherwise."""
    offset: int
    data: bytes


@attrs.frozen
class MappedRange:
    """One row of NT_FILE. Addresses and the offset in the file are in bytes."""

    path: str
    start: int
    end: int
    file_offset: int


@attrs.frozen
class RecordedThread:
    """A thread of which the backend said, at the instant, how well the core knows it."""

    tid: int
    registers: str
    """``exact``, ``partial`` or ``missing``."""
    name: str


class CoreFile:
    """An open core. Raises `IntegrityError` wherever the file is not a readable ELF core."""

    def __init__(self, source: Path | str | BinaryIO | io.BufferedIOBase) -> None:
        """Open a path, or take over a file: its beginning is enough for the headers."""
        if isinstance(source, Path | str):
            self._file: BinaryIO | io.BufferedIOBase = Path(source).open("rb")  # noqa: SIM115 - closed by close()
            self._path = str(source)
        else:
            self._file, self._path = source, "core"
        try:
            self._elf = ELFFile(self._file)  # type: ignore[arg-type]  # it reads and seeks
            self._size = self._file.seek(0, 2)
        except MALFORMED as error:
            self.close()
            raise IntegrityError(f"{self._path}: not an ELF file: {error}") from error
        if self._elf["e_type"] != "ET_CORE":
            self.close()
            raise IntegrityError(f"{self._path}: an ELF file, but not a core")

    @cached_property
    def program_headers(self) -> tuple[ProgramHeader, ...]:
        """Every PT_LOAD in file order."""
        loads = (s for s in self._segments if s["p_type"] == "PT_LOAD")
        return tuple(
            ProgramHeader(s["p_vaddr"], s["p_memsz"], s["p_offset"], s["p_filesz"], s["p_flags"])
            for s in loads
        )

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Every note of every PT_NOTE, in file order."""
        header_size = 12  # three 32-bit words; the owner's name is padded to four bytes
        return tuple(
            Note(
                note["n_name"] or "",
                note["n_type"],
                note["n_offset"] + header_size + ((note["n_namesz"] + 3) & ~3),
                note["n_descdata"],
            )
            for note in self._raw_notes
        )

    @property
    def thread_ids(self) -> tuple[int, ...]:
        """The tid in each NT_PRSTATUS; the first is the thread that a debugger selects.

        The numbers of types belong to their owner: another's notes may use the same.
        """
        own = (n for n in self.notes if (n.owner, n.type) == ("CORE", NT_PRSTATUS))
        return tuple(_PR_PID.unpack_from(n.data)[0] for n in own)

    @cached_property
    def mapped_ranges(self) -> tuple[MappedRange, ...]:
        """The rows of NT_FILE, in order of address."""
        rows = [n for n in self._raw_notes if n["n_type"] == "NT_FILE"]
        return tuple(row for note in rows for row in _file_rows(note["n_desc"]))

    @cached_property
    def build_ids(self) -> dict[str, str | None]:
        """The GNU build ID of every mapped ELF file, by path, as memory had it.

        None where the file has no build ID; a file whose beginning is not in the core is left out.
        """
        found: dict[str, str | None] = {}
        for row in sorted(self.mapped_ranges, key=lambda row: row.start):
            image = self._memory(row.start, min(row.end - row.start, BEGINNING))
            if row.file_offset == 0 and image.startswith(_ELF_MAGIC):
                found.setdefault(row.path, build_id_of(image))
        return found

    def _memory(self, address: int, size: int) -> bytes:
        """Read what there is of *size* bytes, within one program header."""
        for header in self.program_headers:
            inside = address - header.address
            if 0 <= inside < header.file_size:
                self._file.seek(header.offset + inside)
                return self._file.read(min(size, header.file_size - inside))
        return b""

    @property
    def counts_at_end(self) -> bool:
        """Whether section header 0 has the number of program headers (PN_XNUM, elf(5))."""
        return bool(self._elf.header["e_phnum"] == _PN_XNUM)

    @property
    def end_of_notes(self) -> int:
        """Bytes that the file must have for every note to be readable."""
        return max((s["p_offset"] + s["p_filesz"] for s in self._note_segments), default=0)

    @property
    def promised_size(self) -> int:
        """Bytes that the file must have for every header to be true."""
        header = self._elf.header
        end: int = header["e_shoff"] + header["e_shnum"] * header["e_shentsize"]
        for segment in self._segments:
            end = max(end, segment["p_offset"] + segment["p_filesz"])
        return end

    @property
    def recorded_threads(self) -> tuple[RecordedThread, ...]:
        """The threads that the backend listed in a note of its own; empty if it did not."""
        own = (n.data for n in self.notes if (n.owner, n.type) == ("GENCORE", _NT_GENCORE))
        rows = (line.split(" ", 3) for data in own for line in _text(data).split("\n"))
        return tuple(
            RecordedThread(int(row[1]), row[2], row[3])
            for row in rows
            if row[0] == "thread" and len(row) == _THREAD_WORDS and row[1].isdecimal()
        )

    @property
    def flaw(self) -> str | None:
        """What a debugger needs and the headers or notes do not have; None if nothing."""
        if not self.program_headers:
            return "no memory: not one PT_LOAD program header"
        there = {note.type for note in self.notes if note.owner == "CORE"}
        for name, consequence in _NEEDED.items():
            if name not in there:
                return f"{consequence} (not one {name} note)"
        promised = {t.tid for t in self.recorded_threads if t.registers != "missing"}
        if lost := promised.difference(self.thread_ids):
            return f"the registers of {len(lost)} of {len(promised)} threads are not there"
        return None

    def why_incomplete(self) -> str | None:
        """Return why this core is not whole, or None if it is."""
        if self._size < self.promised_size:
            return f"truncated: {self._size:,} of {self.promised_size:,} bytes"
        return self.flaw

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
    def _segments(self) -> list[Any]:
        try:
            return list(self._elf.iter_segments())
        except MALFORMED as error:
            raise IntegrityError(f"{self._path}: unreadable program headers: {error}") from error

    @cached_property
    def _note_segments(self) -> list[NoteSegment]:
        return [s for s in self._segments if isinstance(s, NoteSegment)]

    @cached_property
    def _raw_notes(self) -> list[Any]:
        """Read them once: they may be at the end of a file that is decompressed to get there."""
        try:
            return [note for segment in self._note_segments for note in segment.iter_notes()]
        except MALFORMED as error:
            raise IntegrityError(f"{self._path}: unreadable note: {error}") from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _file_rows(table: Any) -> Iterator[MappedRange]:
    unit = table["page_size"]
    for entry, name in zip(table["Elf_Nt_File_Entry"], table["filename"], strict=True):
        yield MappedRange(
            _text(name), entry["vm_start"], entry["vm_end"], entry["page_offset"] * unit
        )
