"""The core of a process that stands still, made while it is read: nothing is kept of it.

Its memory is read through the file ``mem`` of proc(5), with a megabyte at a time.
"""

import io
import os
import platform
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gencore import CoreFailed, CoreStream
from gencore.core_stream import CHUNK_SIZE
from gencore_backends.linux.completeness import why_incomplete
from gencore_backends.linux.outside_pages import PAGE, Pages
from gencore_backends.linux.outside_segments import Segment

__all__ = ["OutsideCore", "read_at"]

_MACHINES: Final = {"x86_64": 62, "aarch64": 183}
_EHDR: Final = struct.Struct("=16sHHIQQQIHHHHHH")
_PHDR: Final = struct.Struct("=IIQQQQQQ")
_SHDR: Final = struct.Struct("=IIQQQQIIQQ")
_IDENT: Final = b"\x7fELF\2\1\1"
_ET_CORE, _PT_LOAD, _PT_NOTE, _PN_XNUM = 4, 1, 4, 0xFFFF
_PF: Final = {"x": 1, "w": 2, "r": 4}
_NAMED_LOSSES: Final = 16
"""Ranges that could not be read and are named; the others are summed up."""


def read_at(fd: int, address: int, size: int) -> bytes:
    """Return memory, fewer bytes where it cannot be read."""
    try:
        return os.pread(fd, size, address)
    except (OSError, OverflowError):
        return b""


class OutsideCore(CoreStream):
    """Headers, notes, memory, in this order."""

    def __init__(
        self,
        memory: int,
        pages: Pages,
        segments: Sequence[Segment],
        notes: bytes,
        why_ended: Callable[[], str | None],
    ) -> None:
        """*memory*: a descriptor of it, of the caller. *why_ended*: whether it is still there."""
        self._memory = memory
        self._pages = pages
        self._segments = segments
        self._why_ended = why_ended
        self._head = _head(segments, notes)
        written = (s.end - s.start for s in segments if s.written)
        self._size = len(self._head) + sum(written)
        self._chunk = memoryview(bytearray(CHUNK_SIZE))
        self._zeros = memoryview(bytes(CHUNK_SIZE))
        self._losses: list[tuple[int, int]] = []
        self._aborted = False
        self.read = 0
        """Bytes that were delivered."""

    @property
    def size(self) -> int:
        """Bytes of the whole core."""
        return self._size

    def abort(self) -> None:
        """End the stream with `CoreFailed` at its next chunk. Called from any thread."""
        self._aborted = True

    def __iter__(self) -> Iterator[memoryview]:
        """Yield it. Ends early if the process that is read has ended."""
        for chunk in self._chunks():
            if self._aborted:
                raise CoreFailed("write-core", detail="the dump was given up")
            if chunk is None:
                return
            self.read += len(chunk)
            yield chunk

    def wait(self) -> None:
        """Check that all of it was read."""
        if not self.read:  # no collector takes the bytes
            for _ in self:
                pass
        self.missing = self._size - self.read
        head = io.BytesIO(self._head)
        self.incomplete = why_incomplete(head, self._size, self.missing, self._why_ended())
        self.warnings = tuple(_describe(self._losses))

    def _chunks(self) -> Iterator[memoryview | None]:
        """Yield the chunks, or None where the process has ended."""
        head = memoryview(self._head)
        for at in range(0, len(head), CHUNK_SIZE):
            yield head[at : at + CHUNK_SIZE]
        for segment in self._segments:
            if segment.by_pages and segment.written:
                yield from self._by_pages(segment)
            elif segment.written:
                yield from self._read(segment.start, segment.end)

    def _by_pages(self, segment: Segment) -> Iterator[memoryview | None]:
        at = segment.start
        for start, end, _ in self._pages.runs(segment.start, segment.end):
            yield from self._zeros_for(start - at)
            yield from self._read(start, end)
            at = end
        yield from self._zeros_for(segment.end - at)

    def _zeros_for(self, size: int) -> Iterator[memoryview]:
        while size > 0:
            yield self._zeros[:size]
            size -= min(size, CHUNK_SIZE)

    def _read(self, start: int, end: int) -> Iterator[memoryview | None]:
        while start < end:
            chunk = self._chunk[: end - start]
            try:
                length = os.preadv(self._memory, [chunk], start)
            except OSError:  # the first page cannot be read
                length = PAGE - start % PAGE
                self._note_loss(start, length)
                yield self._zeros[:length]
            else:
                yield chunk[:length] if length else None
            start += length

    def _note_loss(self, start: int, size: int) -> None:
        if self._losses and sum(self._losses[-1]) == start:
            start, before = self._losses.pop()
            size += before
        self._losses.append((start, size))


def _describe(losses: list[tuple[int, int]]) -> Iterator[str]:
    end = "unreadable, and missing from the core"
    for start, size in losses[:_NAMED_LOSSES]:
        yield f"memory at {start:#x}: {size:,} bytes {end}"
    others = losses[_NAMED_LOSSES:]
    if others:
        yield f"{len(others):,} more ranges: {sum(size for _, size in others):,} bytes {end}"


def _head(segments: Sequence[Segment], notes: bytes) -> bytes:
    """Return everything before the memory, which begins at a page."""
    count = len(segments) + 1
    many = count >= _PN_XNUM  # section header 0 has their number, see elf(5)
    tables = _EHDR.size + count * _PHDR.size
    begin = -(-(tables + (_SHDR.size if many else 0)) // 8) * 8
    memory = -(-(begin + len(notes)) // PAGE) * PAGE
    headers = [_PHDR.pack(_PT_NOTE, 0, begin, 0, 0, len(notes), 0, 4), *_loads(segments, memory)]
    machine = _MACHINES[platform.machine()]
    sections = (tables, 0, _EHDR.size, _PHDR.size, _PN_XNUM, _SHDR.size, 1, 0)
    plain = (0, 0, _EHDR.size, _PHDR.size, count, 0, 0, 0)
    elf = _EHDR.pack(_IDENT, _ET_CORE, machine, 1, 0, _EHDR.size, *(sections if many else plain))
    section = _SHDR.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0) if many else b""
    return (elf + b"".join(headers) + section).ljust(begin, b"\0") + notes.ljust(
        memory - begin, b"\0"
    )


def _loads(segments: Sequence[Segment], offset: int) -> Iterator[bytes]:
    for segment in segments:
        size = segment.end - segment.start
        written = size if segment.written else 0
        permissions = segment.mapping.row.permissions
        flags = sum(bit for letter, bit in _PF.items() if letter in permissions)
        yield _PHDR.pack(_PT_LOAD, flags, offset, segment.start, 0, written, size, PAGE)
        offset += written
