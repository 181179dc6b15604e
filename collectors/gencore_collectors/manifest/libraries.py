"""The section ``libraries``: every mapped file, where it was mapped and what it is called."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gencore import DumpInProgress
from gencore.libraries import Library
from gencore_collectors.manifest.contents import in_bundle
from gencore_collectors.manifest.link_map import loaded_names

__all__ = ["Mappings", "section"]

_MAPS: Final = "/proc/self/maps"
_DELETED: Final = " (deleted)"


class Mappings:
    """Where files are mapped now, and what the dynamic linker calls them."""

    def __init__(self) -> None:
        """Read it."""
        names = loaded_names()
        self.aliases = None if names is None else _aliases(names)
        self.ranges = _ranges()


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


def _ranges() -> dict[str, list[list[str]]]:
    """Return, for each path, the rows of proc(5), maps: start, end, offset in the file."""
    try:
        lines = Path(_MAPS).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return {}
    ranges = defaultdict(list)
    for line in lines:
        span, _, offset, _, _, *path = line.split(maxsplit=5)
        if path:
            numbers = [f"0x{number.lstrip('0') or '0'}" for number in (*span.split("-"), offset)]
            ranges[path[0].replace("\\012", "\n").removesuffix(_DELETED)].append(numbers)
    return ranges
