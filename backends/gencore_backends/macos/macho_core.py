"""A Mach-O core: how long it must be, and which memory macOS did not write.

The format is that of <mach-o/loader.h>, written as ``coredump`` in XNU's
``bsd/kern/kern_core.c`` does: first the memory, then the notes, last the header. The kernel
describes what it cannot write as empty, and continues.
"""

import struct
from collections.abc import Iterator
from io import FileIO
from typing import Final, Self

import attrs

from gencore import FileCoreStream, IntegrityError
from gencore.output import Output

__all__ = ["Contents", "MachCore"]

_HEADER: Final = struct.Struct("<I8xIII8x")
"""magic, filetype, ncmds and sizeofcmds of struct mach_header_64."""
_COMMAND: Final = struct.Struct("<II")
_SEGMENT: Final = struct.Struct("<24x8xQQQ4xi8x")
"""vmsize, fileoff, filesize and initprot of struct segment_command_64."""
_NOTE: Final = struct.Struct("<24xQQ")
"""offset and size of struct note_command."""
_MAGIC, _MH_CORE = 0xFEEDFACF, 4
_LC_THREAD, _LC_SEGMENT_64, _LC_NOTE = 0x4, 0x19, 0x31
_READABLE: Final = 1
_MOST: Final = 64 << 20
"""Bytes of load commands, at most: a million segments need less."""


@attrs.frozen
class Contents:
    """The content of a core according to its load commands."""

    size: int
    """Bytes that the file must have for every command to be true."""
    segments: int
    threads: int
    unwritten: tuple[int, ...] = ()
    """Sizes of the readable regions whose bytes are not in the file."""

    @classmethod
    def read(cls, file: FileIO) -> Self:
        """Read them. Raises `IntegrityError`."""
        header = file.read(_HEADER.size)
        if not header.strip(b"\0"):
            raise IntegrityError("no header: macOS writes it last, and stopped before")
        if len(header) < _HEADER.size or _HEADER.unpack(header)[:2] != (_MAGIC, _MH_CORE):
            raise IntegrityError("not a 64-bit Mach-O core")
        _, _, count, size = _HEADER.unpack(header)
        commands = file.read(min(size, _MOST))
        if len(commands) < size:
            raise IntegrityError(f"truncated: {len(commands):,} of {size:,} bytes of commands")
        return cls._of(list(_split(commands, count)), _HEADER.size + size)

    @classmethod
    def _of(cls, commands: list[tuple[int, bytes]], size: int) -> Self:
        segments = [_SEGMENT.unpack_from(row) for kind, row in commands if kind == _LC_SEGMENT_64]
        notes = [_NOTE.unpack_from(row) for kind, row in commands if kind == _LC_NOTE]
        ends = [offset + length for _, offset, length, _ in segments if length]
        ends += [offset + length for offset, length in notes]
        return cls(
            max([size, *ends]),
            len(segments),
            sum(kind == _LC_THREAD for kind, _ in commands),
            tuple(
                memory - length
                for memory, _, length, protection in segments
                if length < memory and protection & _READABLE
            ),
        )

    def flaw(self, free: int) -> str | None:
        """Return what a debugger needs and the core lacks, or None.

        *free*: bytes that were free on the disk when the core was written. The kernel writes a
        region completely or not at all, and does not report why.
        """
        if not self.segments:
            return "no memory (no segments)"
        if not self.threads:
            return "no registers (no threads)"
        if max(self.unwritten, default=0) > free:
            return f"the disk was full: {sum(self.unwritten):,} bytes of memory were not written"
        return None


_SIZES: Final = {_LC_SEGMENT_64: _SEGMENT.size, _LC_NOTE: _NOTE.size}


def _split(commands: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and all bytes of each load command. Raises `IntegrityError`."""
    position = 0
    for _ in range(count):
        if position + _COMMAND.size > len(commands):
            raise IntegrityError("fewer load commands than the header counts")
        kind, size = _COMMAND.unpack_from(commands, position)
        data = commands[position : position + size]
        if len(data) < max(size, _SIZES.get(kind, _COMMAND.size)):
            raise IntegrityError(f"the load command at {position:,} has an invalid size")
        yield kind, data
        position += size


class MachCore(FileCoreStream):
    """The finished core *file* in *output*; *free* as for `Contents.flaw`."""

    def __init__(self, output: Output, file: str, free: int) -> None:
        super().__init__(output, file)
        self._promised = self._size
        try:
            with output.open(file) as core:
                contents = Contents.read(core)
        except IntegrityError as error:
            self.incomplete = str(error)
            return
        self._promised = max(contents.size, self._size)
        self.missing = self._promised - self._size
        self.incomplete = contents.flaw(free)
        if self.missing:
            self.incomplete = f"truncated: {self._size:,} of {self._promised:,} bytes"
        if contents.unwritten:
            total, count = sum(contents.unwritten), len(contents.unwritten)
            text = f"{total:,} bytes of memory in {count:,} regions are not in the core"
            self.warnings = (f"{text}: macOS omits device memory and what it cannot write",)

    @property
    def size(self) -> int:
        """Bytes that the load commands promise."""
        return self._promised
