"""Reads the names under which the dynamic linker knows the loaded files.

The way is a debugger's: the auxiliary vector leads to the executable's program headers, these to
its dynamic section, DT_DEBUG there to ``struct r_debug``, and that to the list of ``struct
link_map`` (``link.h``). Asking the linker itself (``dl_iterate_phdr``) would take its lock, which
a thread may hold that waits for the GIL. Without the lock the list may change on the way; memory
is therefore read through /proc/self/mem, where a wrong address is an error and not a crash.
"""

import os
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

__all__ = ["loaded_names"]

_PAIR: Final = struct.Struct("=QQ")
"""A row of the auxiliary vector or of a dynamic section: tag and value."""
_AT_PHDR, _AT_PHNUM, _DT_DEBUG = 3, 5, 21
_PROGRAM_HEADER: Final = struct.Struct("=IIQQQQQQ")
_PT_DYNAMIC, _PT_PHDR = 2, 6
_R_DEBUG: Final = struct.Struct("=i4xQ")
_LINK_MAP: Final = struct.Struct("=QQQQ")
_MAX_NAMES: Final = 10_000
"""A list that changes while it is read may be a circle."""
_PAGE: Final = 4096
"""The smallest page: a text is read up to such a border, because the next page may be missing."""


def loaded_names() -> tuple[str, ...] | None:
    """Return the names in the linker's order, or None where the way to them is broken.

    Broken on 32-bit platforms, in static executables, and where /proc/self/mem is closed.
    """
    try:
        auxiliary = dict(_PAIR.iter_unpack(Path("/proc/self/auxv").read_bytes()))
        fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return tuple(islice(_names(fd, _first_link(fd, auxiliary)), _MAX_NAMES))
        finally:
            os.close(fd)
    except (OSError, LookupError, OverflowError, struct.error):
        return None


def _first_link(fd: int, auxiliary: dict[int, int]) -> int:
    table = auxiliary[_AT_PHDR]
    data = os.pread(fd, auxiliary[_AT_PHNUM] * _PROGRAM_HEADER.size, table)
    addresses = {row[0]: row[3] for row in _PROGRAM_HEADER.iter_unpack(data)}
    moved = table - addresses[_PT_PHDR]
    dynamic = dict(_dynamic(fd, addresses[_PT_DYNAMIC] + moved))
    link: int = _R_DEBUG.unpack(os.pread(fd, _R_DEBUG.size, dynamic[_DT_DEBUG]))[1]
    return link


def _dynamic(fd: int, address: int) -> Iterator[tuple[int, int]]:
    """Yield tag and value until the tag 0, which ends the section."""
    while (pair := _PAIR.unpack(os.pread(fd, _PAIR.size, address)))[0]:
        yield pair
        address += _PAIR.size


def _names(fd: int, link: int) -> Iterator[str]:
    while link:
        _, name, _, link = _LINK_MAP.unpack(os.pread(fd, _LINK_MAP.size, link))
        yield os.fsdecode(_text(fd, name))


def _text(fd: int, address: int) -> bytes:
    """Read up to a NUL, within two pages: that is more than the longest path."""
    data = os.pread(fd, _PAGE - address % _PAGE, address)
    if b"\0" not in data:
        data += os.pread(fd, _PAGE, address + len(data))
    return data.partition(b"\0")[0]
