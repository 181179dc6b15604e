"""Reads the names under which the dynamic linker knows the loaded files, and where they are.

It does what a debugger does: the auxiliary vector leads to the executable's program headers, these
to its dynamic section, DT_DEBUG there to ``struct r_debug``, and that to the list of ``struct
link_map`` (``link.h``). Asking the linker itself (``dl_iterate_phdr``) would take its lock, which
may be held by a thread that waits for the GIL. Without the lock the list may change meanwhile;
memory is therefore read through the file ``mem`` of proc(5), where a wrong address is an error and
not a crash.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from gencore.runtime import reraise_if_from_handler
from gencore_backends.linux.process_access import ProcessAccess

__all__ = ["loaded_files"]

_PAIR: Final = struct.Struct("=QQ")
"""A row of a dynamic section: tag and value."""
_AT_PHDR, _AT_PHNUM, _DT_DEBUG = 3, 5, 21
_PROGRAM_HEADER: Final = struct.Struct("=IIQQQQQQ")
_PT_DYNAMIC, _PT_PHDR = 2, 6
_R_DEBUG: Final = struct.Struct("=i4xQ")
_LINK_MAP: Final = struct.Struct("=QQQQ")
_MAX_NAMES: Final = 10_000
"""A list that changes while it is read may become circular."""
_PAGE: Final = 4096
"""The smallest page: a string is read up to a page boundary, as the next page may be missing."""


def loaded_files(access: ProcessAccess) -> tuple[tuple[str, int], ...] | None:
    """Return each file's name and an address in it, in the linker's order.

    None if the list cannot be reached.

    It cannot on 32-bit platforms, in static executables, and if access to ``mem`` is denied.
    """
    try:
        fd = access.open_memory()
        try:
            first = _first_link(fd, access.auxiliary_values())
            return tuple(islice(_files(fd, first), _MAX_NAMES))
        finally:
            os.close(fd)
    except (OSError, LookupError, OverflowError, struct.error) as error:
        reraise_if_from_handler(error)
        return None


def _first_link(fd: int, auxiliary: Mapping[int, int]) -> int:
    table, count = auxiliary[_AT_PHDR], auxiliary[_AT_PHNUM]
    data = os.pread(fd, count * _PROGRAM_HEADER.size, table)
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


def _files(fd: int, link: int) -> Iterator[tuple[str, int]]:
    while link:
        _, name, section, link = _LINK_MAP.unpack(os.pread(fd, _LINK_MAP.size, link))
        yield os.fsdecode(_text(fd, name)), section


def _text(fd: int, address: int) -> bytes:
    """Read up to a NUL, within two pages: that is more than the longest path."""
    data = os.pread(fd, _PAGE - address % _PAGE, address)
    if b"\0" not in data:
        data += os.pread(fd, _PAGE, address + len(data))
    return data.partition(b"\0")[0]
