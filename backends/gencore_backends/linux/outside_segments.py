"""Which memory of another process goes into its core: the segments, in order of address.

The rules are those of native/segments.c for ``full`` and ``private``, which are the kernel's; they
differ where something is seen only from inside: of shared memory, what its file holds is written.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import attrs

from gencore.target import Target
from gencore_backends.linux.outside_map import Mapping
from gencore_backends.linux.outside_pages import PAGE, Pages

__all__ = ["Segment", "choose_segments"]

_GAP: Final = 1 << 20
"""Bytes of absent memory that are worth a segment of their own."""
_MOST_UNTOUCHED: Final = 16 << 20
"""Bytes that are written as zeros, of one mapping."""
_MOST_DATA: Final = 4 << 20
"""Bytes of a library's data: readers take structures from it in one piece."""
_ELF: Final = b"\x7fELF"
_SHARED_MEMORY: Final = ("/memfd:", "/SYSV", "/dev/shm/")  # noqa: S108 - names that the kernel shows

_Span = tuple[int, int]


@attrs.frozen
class Segment:
    """A piece of memory of one mapping."""

    start: int
    end: int
    mapping: Mapping
    written: bool
    """Whether its bytes are in the core."""
    by_pages: bool = False
    """Whether only the pages that are there are read: the others are zeros."""


@attrs.frozen
class Chooser:
    """What the choice looks at: a clone that stands still, and how its memory is read."""

    clone: int
    target: Target
    pages: Pages
    read: Callable[[int, int], bytes]
    """Returns bytes at an address, fewer where they cannot be read."""
    full: bool
    with_dontdump: bool

    def choose(self, mapping: Mapping) -> Iterator[Segment]:
        """Yield the segments of one mapping, which cover all of it."""
        start, end = mapping.row.start, mapping.row.end
        left_out = b"dd" in mapping.flags and not self.with_dontdump
        if mapping.row.name == "[vdso]":  # its pages count as absent
            yield Segment(start, end, mapping, written=True)
        elif mapping.device_memory or left_out:
            yield Segment(start, end, mapping, written=False)
        elif not mapping.row.inode or (mapping.huge and not mapping.shared):
            yield from self._private(mapping)
        else:
            yield from self._file(mapping)

    def _private(self, mapping: Mapping) -> Iterator[Segment]:
        start, end = mapping.row.start, mapping.row.end
        if not mapping.resident:
            yield Segment(start, end, mapping, written=False)
        elif not mapping.huge and end - start <= mapping.resident + _MOST_UNTOUCHED:
            yield Segment(start, end, mapping, written=True, by_pages=True)
        else:
            runs = ((first, last) for first, last, _ in self.pages.runs(start, end))
            yield from _split(mapping, runs, _GAP, by_pages=not mapping.huge)

    def _file(self, mapping: Mapping) -> Iterator[Segment]:
        start = mapping.row.start
        data = self._data_of_shared_memory(mapping)
        if data is not None:
            yield from _split(mapping, data, PAGE)
        elif mapping.readable_nowhere:
            yield from self._changed(mapping, start)
        elif self.full or mapping.row.deleted or _is_data(mapping):
            end = self._end_of_file(mapping)
            yield from _split(mapping, [(start, end)], PAGE)
        else:
            elf = not mapping.row.offset and self.read(start, len(_ELF)) == _ELF
            yield from self._changed(mapping, start + PAGE if elf else start)

    def _changed(self, mapping: Mapping, first: int) -> Iterator[Segment]:
        """Yield the pages that the process has changed, and those up to *first*."""
        rows = self.pages.runs(mapping.row.start, mapping.row.end)
        runs = [(start, end) for start, end, is_file in rows if not is_file]
        yield from _split(mapping, [(mapping.row.start, first), *runs], PAGE)

    def _end_of_file(self, mapping: Mapping) -> int:
        """Return where the file ends, if it is shorter than its mapping: then nothing is read."""
        there, missing = mapping.row.start, mapping.row.end
        if self.read(missing - PAGE, 1):
            return missing
        while missing - there > PAGE:
            middle = there + (missing - there) // 2 // PAGE * PAGE
            if self.read(middle - PAGE, 1):
                there = middle
            else:
                missing = middle
        return there

    def _data_of_shared_memory(self, mapping: Mapping) -> list[_Span] | None:
        """Return what the file of shared memory holds; None for other files.

        Reading a hole would fill it, in the target's own memory. Where the file itself may not be
        opened, what the target has touched is what is known.
        """
        if not mapping.shared or not _is_shared_memory(mapping.row.path):
            return None
        row = mapping.row
        with suppress(OSError):
            path = f"/proc/{self.clone}/map_files/{row.start:x}-{row.end:x}"
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                shift = row.start - row.offset
                spans = _data_spans(fd, row.offset, row.offset + row.end - row.start)
                return [(start + shift, end + shift) for start, end in spans]
            finally:
                os.close(fd)
        return self._touched(row.start, row.end)

    def _touched(self, start: int, end: int) -> list[_Span]:
        try:
            pages = Pages(self.target.pid)
        except OSError:
            return []
        try:
            return [(first, last) for first, last, _ in pages.runs(start, end)]
        finally:
            pages.close()


def choose_segments(chooser: Chooser, mappings: tuple[Mapping, ...]) -> tuple[Segment, ...]:
    """Return the segments of the whole map. Raises OSError."""
    return tuple(segment for mapping in mappings for segment in chooser.choose(mapping))


def _is_data(mapping: Mapping) -> bool:
    row = mapping.row
    return "w" in row.permissions and not mapping.shared and row.end - row.start <= _MOST_DATA


def _is_shared_memory(path: str) -> bool:
    """Whether a mapping is of mmap(2) without a file, memfd_create(2), shmget(2), shm_open(3)."""
    return path == "/dev/zero" or path.startswith(_SHARED_MEMORY)


def _data_spans(fd: int, start: int, end: int) -> Iterator[_Span]:
    """Yield the parts of a file that are no holes, as whole pages."""
    while start < end:
        try:
            first = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:  # ENXIO: none behind it
            return
        last = min(os.lseek(fd, first, os.SEEK_HOLE), end)
        if first >= end:
            return
        yield first // PAGE * PAGE, -(-last // PAGE) * PAGE
        start = last


def _split(
    mapping: Mapping, runs: "Iterator[_Span] | list[_Span]", gap: int, *, by_pages: bool = False
) -> Iterator[Segment]:
    """Yield the runs as written segments, and what is between them, if it is worth one."""
    start = end = mapping.row.start
    for first, last in runs:
        if first > end and first - end >= gap:
            yield from _pair(mapping, start, end, first, by_pages=by_pages)
            start = first
        end = max(end, last)
    yield from _pair(mapping, start, end, mapping.row.end, by_pages=by_pages)


def _pair(
    mapping: Mapping, start: int, end: int, behind: int, *, by_pages: bool
) -> Iterator[Segment]:
    """Yield a written segment and the one behind it, without those that are empty."""
    if start < end:
        yield Segment(start, end, mapping, written=True, by_pages=by_pages)
    if end < behind:
        yield Segment(end, behind, mapping, written=False)
