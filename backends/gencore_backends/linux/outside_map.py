"""The memory map of a standing process with what the kernel knows of each mapping's pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from gencore.memory_map import MappedRange, parse_memory_map

__all__ = ["Mapping", "read_mappings"]

_RESIDENT: Final = {b"Rss", b"Private_Hugetlb", b"Shared_Hugetlb", b"Swap"}
_KIB: Final = 1024


@attrs.frozen
class Mapping:
    """One mapping: its row of the map, and what is below it in smaps; see proc(5)."""

    row: MappedRange
    resident: int
    """Bytes in memory or swapped out."""
    flags: frozenset[bytes]
    """The two letters of each, of VmFlags."""

    @property
    def readable_nowhere(self) -> bool:
        """Whether it has no rights at all: a gap that somebody closes off."""
        return self.row.permissions.startswith("---")

    @property
    def shared(self) -> bool:
        """Whether other processes see what is written to it."""
        return self.row.permissions.endswith("s")

    @property
    def device_memory(self) -> bool:
        """Whether reading it may have effects, or fail: VM_IO and VM_PFNMAP."""
        return not self.flags.isdisjoint({b"io", b"pf"})

    @property
    def huge(self) -> bool:
        """Whether its pages are of hugetlbfs."""
        return b"ht" in self.flags


def read_mappings(pid: int) -> tuple[Mapping, ...]:
    """Read them. Raises OSError. The kernel walks every page: for a process that stands still."""
    data = Path(f"/proc/{pid}/smaps").read_bytes()
    return tuple(m for m in _parse(data.split(b"\n")) if m.row.name != "[vsyscall]")


def _parse(lines: list[bytes]) -> Iterator[Mapping]:
    """Yield each mapping once its last line is known: they begin where a row of the map is."""
    row: MappedRange | None = None
    resident, flags = 0, frozenset[bytes]()
    for line in lines:
        if line[:1].isupper():
            key, _, value = line.partition(b":")
            if key in _RESIDENT:
                resident += int(value.split()[0]) * _KIB
            elif key == b"VmFlags":
                flags = frozenset(value.split())
            continue
        if row is not None:
            yield Mapping(row, resident, flags)
        row, resident, flags = next(iter(parse_memory_map(line)), None), 0, frozenset()
