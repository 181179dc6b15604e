"""The section ``memory``: every mapping of the process, as the kernel lists them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gencore.memory_map import MappedRange, parse_memory_map
from gencore.target import Target

__all__ = ["mapped_ranges", "section"]

_NAMED: Final = {"[heap]": "heap", "[stack]": "stack"}
_FROM_KERNEL: Final = ("[vdso]", "[vvar", "[vsyscall]")
_SHARED: Final = ("/dev/shm/", "/dev/zero", "/memfd:", "/SYSV", "[anon_shmem:")  # noqa: S108 - compared only
_HUGE_PAGES: Final = "/anon_hugepage"


def mapped_ranges(target: Target) -> tuple[MappedRange, ...]:
    """Return the map of the process; nothing where it cannot be read."""
    try:
        return parse_memory_map(Path(target.proc("maps")).read_bytes())
    except OSError:
        return ()


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
            "kind": _kind(row),
        }
        for row in ranges
    ]


def _kind(row: MappedRange) -> str:
    """Return what the memory is for, as far as its row shows."""
    if row.path.startswith(_FROM_KERNEL):
        return "vdso"
    if row.permissions.startswith("---"):
        return "reserved"
    if row.path.startswith(_SHARED):
        return "shared"
    if not row.path.startswith("/") or row.path == _HUGE_PAGES:
        return _NAMED.get(row.path, "anonymous")
    return "code" if "x" in row.permissions else "file"
