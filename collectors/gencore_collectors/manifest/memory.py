"""The section ``memory``: every mapping of the process, as the kernel lists them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from gencore.target import Target

__all__ = ["MappedRange", "mapped_ranges", "section"]

_ROW: Final = re.compile(rb"(\w+)-(\w+) (\S{4}) (\w+) \S+ (\d+) *(.*)", re.DOTALL)
"""Start, end, permissions, offset, inode and path; see proc(5)."""
_DELETED: Final = " (deleted)"
_NAMED: Final = {"[heap]": "heap", "[stack]": "stack"}
_FROM_KERNEL: Final = ("[vdso]", "[vvar", "[vsyscall]")
_SHARED: Final = ("/dev/shm/", "/dev/zero", "/memfd:", "/SYSV", "[anon_shmem:")  # noqa: S108 - compared only
_HUGE_PAGES: Final = "/anon_hugepage"


@attrs.frozen
class MappedRange:
    """One row of the map: addresses and the place in the file are numbers."""

    start: int
    end: int
    permissions: str
    offset: int
    path: str
    """A file, what the kernel calls it (``[heap]``), or nothing."""
    deleted: bool
    """Whether the file was deleted or replaced since."""

    @property
    def kind(self) -> str:
        """What the memory is for, as far as its row tells."""
        if self.path.startswith(_FROM_KERNEL):
            return "vdso"
        if self.permissions.startswith("---"):
            return "reserved"
        if self.path.startswith(_SHARED):
            return "shared"
        if not self.path.startswith("/") or self.path == _HUGE_PAGES:
            return _NAMED.get(self.path, "anonymous")
        return "code" if "x" in self.permissions else "file"


def mapped_ranges(target: Target) -> tuple[MappedRange, ...]:
    """Return the map as it is now, in order of address; nothing where it cannot be read."""
    try:
        data = Path(target.proc("maps")).read_bytes()
    except OSError:
        return ()
    # Not splitlines(): a name may hold every other character that ends a line in Unicode.
    return tuple(_mapped_range(row) for row in map(_ROW.fullmatch, data.split(b"\n")) if row)


def _mapped_range(row: re.Match[bytes]) -> MappedRange:
    start, end, offset = (int(row[group], 16) for group in (1, 2, 4))
    path = os.fsdecode(row[6].replace(b"\\012", b"\n"))
    deleted = path.startswith("/") and path.endswith(_DELETED)
    name = path.removesuffix(_DELETED) if deleted else path
    return MappedRange(start, end, row[3].decode(), offset, name, deleted)


def section(ranges: Iterable[MappedRange]) -> list[dict[str, Any]]:
    """Return it."""
    return [
        {
            "start": hex(row.start),
            "end": hex(row.end),
            "size": row.end - row.start,
            "permissions": row.permissions,
            "offset": hex(row.offset),
            "path": row.path or None,
            "deleted": row.deleted,
            "kind": row.kind,
        }
        for row in ranges
    ]
