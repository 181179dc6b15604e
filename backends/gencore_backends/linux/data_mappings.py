"""Finds files mapped as data only, and which of that memory is marked with MADV_DONTDUMP.

The mark is the flag ``dd`` in proc(5), smaps. To produce smaps, the kernel walks every page, and
blocks threads that change the address space meanwhile. So it is read only if a clone has found
such memory, and then the clone's is, which delays no one; the process's own only if the clone has
already ended, which a large one has not.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gencore.memory_map import MappedRange
from gencore.target import Target

__all__ = ["DataMapping", "data_mappings"]

_MAPPING: Final = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) [r-][w-][x-].*?^VmFlags:([^\n]*)", re.MULTILINE | re.DOTALL
)
_Span = tuple[int, int]
_Identity = tuple[str, int]
"""Device and inode: a file may be mapped under several of its names."""


class DataMapping(NamedTuple):
    """The mappings of one file, under any of its names."""

    spans: tuple[_Span, ...]
    dontdump: bool


def data_mappings(
    rows: Iterable[MappedRange], target: Target, smaps: str | None
) -> dict[str, DataMapping]:
    """Return, by name, those of the files in *rows* of the memory map that are not code.

    *smaps*: that of a clone of the process, which may have ended; None if nothing is marked. Where
    it cannot be read what is marked in another process, all is. Raises OSError.
    """
    identities: dict[str, _Identity] = {}
    spans: defaultdict[_Identity, list[_Span]] = defaultdict(list)
    code: set[_Identity] = set()
    for row in rows:
        if row.name and row.inode:
            identity = identities[row.name] = (row.device, row.inode)
            spans[identity].append((row.start, row.end))
            if "x" in row.permissions:
                code.add(identity)
    data = {identity: rows for identity, rows in spans.items() if identity not in code}
    spans_of_data = {span for rows in data.values() for span in rows}
    marked = set() if smaps is None else _dontdump(spans_of_data, target, smaps)
    found = {
        identity: DataMapping(tuple(rows), not marked.isdisjoint(rows))
        for identity, rows in data.items()
    }
    return {name: found[identity] for name, identity in identities.items() if identity in found}


def _dontdump(spans: set[_Span], target: Target, smaps: str) -> set[_Span]:
    """Return the mappings that are marked."""
    if not spans:
        return set()
    flags = _flags(smaps)
    if not flags.keys() >= spans:
        flags = _flags(target.process_file("smaps"), is_own=target.other is None)
    if target.other is not None and not flags:
        return spans
    return {span for span in spans if b"dd" in flags.get(span, ())}


def _flags(smaps: str, *, is_own: bool = False) -> dict[_Span, list[bytes]]:
    """Return the flags of each mapping; none if the process has ended, or is closed to us."""
    try:
        text = Path(smaps).read_bytes()
    except OSError:
        if is_own:
            raise
        return {}
    return {(int(row[1], 16), int(row[2], 16)): row[3].split() for row in _MAPPING.finditer(text)}
