"""Which pages of another process are there, as the kernel's page tables know.

Formats: Documentation/admin-guide/mm/pagemap.rst of the kernel, include/uapi/linux/fs.h.
"""

import errno
import fcntl
import mmap
import os
import struct
from array import array
from collections.abc import Iterator
from typing import Final

__all__ = ["PAGE", "PageRun", "Pages"]

PAGE: Final = mmap.PAGESIZE

_SCAN: Final = 0xC0606610
"""PAGEMAP_SCAN, Linux 6.7: what is absent costs nothing."""
_ARGUMENT: Final = struct.Struct("=12Q")
_FILE, _PRESENT, _SWAPPED, _GUARD = 1 << 2, 1 << 3, 1 << 4, 1 << 8
_ROWS: Final = 4096
_ENTRIES: Final = 65536
_ENTRY_BITS: Final = ((63, _PRESENT), (62, _SWAPPED), (61, _FILE), (58, _GUARD))

PageRun = tuple[int, int, bool]
"""Start, end, and whether the pages are a file's own, unchanged by the process."""


class Pages:
    """The page tables of one process. Raises OSError."""

    def __init__(self, pid: int) -> None:
        self._fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._scans = True
        self._known = _FILE | _PRESENT | _SWAPPED | _GUARD

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def runs(self, start: int, end: int) -> Iterator[PageRun]:
        """Yield the pages between two addresses that are present or swapped out, in order."""
        for first, last, categories in self._regions(start, end):
            if not categories & _GUARD:
                yield first, last, bool(categories & _FILE)

    def _regions(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        rows = array("Q", bytes(8 * 3 * _ROWS))
        while self._scans and start < end:
            try:
                count, start = self._scan(start, end, rows)
            except OSError:  # before Linux 6.7
                self._scans = False
                break
            for at in range(0, 3 * count, 3):
                yield rows[at], rows[at + 1], rows[at + 2]
        if not self._scans:
            yield from self._entries(start, end)

    def _scan(self, start: int, end: int, rows: "array[int]") -> tuple[int, int]:
        """Fill in the next rows; return their number and where they end.

        It stops early only where there is no more room for rows. What the kernel calls walk_end
        may lie before the last of them (do_pagemap_scan in fs/proc/task_mmu.c).
        """
        there = _PRESENT | _SWAPPED
        address, _ = rows.buffer_info()
        wish = (_ARGUMENT.size, 0, start, end, 0, address, _ROWS, 0, 0, 0, there, self._known)
        argument = bytearray(_ARGUMENT.pack(*wish))
        try:
            count = fcntl.ioctl(self._fd, _SCAN, argument)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._known & _GUARD:
                raise
            self._known &= ~_GUARD  # before Linux 6.16
            return self._scan(start, end, rows)
        return count, end if count < _ROWS else rows[3 * _ROWS - 2]

    def _entries(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Read eight bytes for each page; neighbours of one kind are one region."""
        region: tuple[int, int, int] | None = None
        while start < end:
            count = min((end - start) // PAGE, _ENTRIES)
            entries = array("Q", os.pread(self._fd, 8 * count, start // PAGE * 8))
            for entry in entries:
                categories = _categories(entry) if entry >> 62 else 0
                if region and (categories, start) == (region[2], region[1]):
                    region = region[0], start + PAGE, categories
                else:
                    if region:
                        yield region
                    region = (start, start + PAGE, categories) if categories else None
                start += PAGE
            if not entries:
                break
        if region:
            yield region


def _categories(entry: int) -> int:
    return sum(category for bit, category in _ENTRY_BITS if entry >> bit & 1)
