"""The section ``libraries``: every mapped file, where it was mapped and what it is called."""

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from gencore import DumpInProgress
from gencore.libraries import Library
from gencore_collectors.manifest.contents import in_bundle
from gencore_collectors.manifest.link_map import loaded_names
from gencore_collectors.manifest.memory import MappedRange, mapped_ranges

__all__ = ["Mappings", "section"]


class Mappings:
    """What is mapped now, and what the dynamic linker calls the files in it."""

    def __init__(self) -> None:
        """Read it."""
        names = loaded_names()
        self.aliases = None if names is None else _aliases(names)
        self.memory = mapped_ranges()
        self.ranges = _by_path(self.memory)


def section(dump: DumpInProgress, mappings: Mappings) -> list[dict[str, Any]]:
    """Return it, the executable first."""
    return [_library(dump, library, mappings) for library in dump.libraries]


def _library(dump: DumpInProgress, library: Library, mappings: Mappings) -> dict[str, Any]:
    aliases = mappings.aliases
    was_read = library.sha256 is not None
    return {
        "path": library.path,
        "archive_path": library.archive_path if in_bundle(dump) and was_read else None,
        "status": library.status,
        "reason": library.reason,
        "deleted": library.status == "deleted",
        "source": "file" if was_read else None,
        "size": library.size,
        "sha256": library.sha256,
        "build_id": library.build_id,
        "soname": library.soname,
        "aliases": aliases.get(library.path, []) if aliases is not None else None,
        "ranges": mappings.ranges.get(library.path, []),
    }


def _aliases(names: Iterable[str]) -> dict[str, list[str]]:
    """Return, for each path, the linker's other names of it.

    Relative names are left out: what they were relative to may have changed.
    """
    aliases = defaultdict(list)
    for name in names:
        path = os.path.realpath(name) if name.startswith("/") else name
        if path != name:
            aliases[path].append(name)
    return aliases


def _by_path(ranges: Iterable[MappedRange]) -> dict[str, list[list[str]]]:
    """Return, for each path, where it is mapped: start, end, offset in the file."""
    by_path = defaultdict(list)
    for row in ranges:
        by_path[row.path].append([hex(row.start), hex(row.end), hex(row.offset)])
    return by_path
