"""Reads the memory map of a process as the kernel lists it in /proc/PID/maps; see proc(5)."""

import os
import re
from pathlib import Path
from typing import Final

import attrs

__all__ = ["MappedRange", "parse_memory_map", "read_memory_map"]

_ROW: Final = re.compile(rb"(\w+)-(\w+) (\S{4}) (\w+) (\S+) (\d+) *(.*)", re.DOTALL)
"""Start, end, permissions, offset, device, inode and name."""
_DELETED: Final = " (deleted)"


@attrs.frozen
class MappedRange:
    """One row of the map: one range of addresses that has the same rights and the same origin."""

    start: int
    end: int
    """The address of the first byte behind it."""
    permissions: str
    """Four letters: ``r-xp``."""
    offset: int
    """Where it begins in its file, in bytes."""
    device: str
    """That of the file, as the kernel writes it: ``fd:01``."""
    inode: int
    """That of the file on its device, or 0."""
    name: str
    """The file's path, with the kernel's " (deleted)"; or what the kernel calls this memory
    (``[heap]``); or nothing. Bytes that are not UTF-8 are as in `os.fsdecode`."""

    @property
    def deleted(self) -> bool:
        """Whether the kernel marks the file as removed; a name of that form looks the same."""
        return self.name.endswith(_DELETED)

    @property
    def path(self) -> str:
        """The name without that mark."""
        return self.name.removesuffix(_DELETED)


def read_memory_map(process: int | str = "thread-self") -> tuple[MappedRange, ...]:
    """Return the map as it is now, in order of address.

    *process*: a process ID, or the calling thread, which has the memory even if the main thread
    has ended and ``/proc/self`` has not. Raises OSError if the map cannot be read.
    """
    return parse_memory_map(Path(f"/proc/{process}/maps").read_bytes())


def parse_memory_map(data: bytes) -> tuple[MappedRange, ...]:
    r"""Return the rows of a map that was read before.

    A line feed in a name is ``\012`` there. It alone ends a row: names may hold every other
    character at which `str.splitlines` ends a line. What is not a row is left out.
    """
    return tuple(_mapped_range(row) for row in map(_ROW.fullmatch, data.split(b"\n")) if row)


def _mapped_range(row: re.Match[bytes]) -> MappedRange:
    start, end, offset = (int(row[group], 16) for group in (1, 2, 4))
    name = os.fsdecode(row[7].replace(b"\\012", b"\n"))
    return MappedRange(start, end, row[3].decode(), offset, row[5].decode(), int(row[6]), name)
