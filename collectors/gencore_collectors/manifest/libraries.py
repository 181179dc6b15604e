"""The section ``libraries``: every mapped file, where it was mapped and what it is called."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gencore import DumpInProgress
from gencore.libraries import Library
from gencore_collectors.manifest.contents import in_bundle

__all__ = ["read_ranges", "section"]

_MAPS: Final = "/proc/self/maps"
_DELETED: Final = " (deleted)"


def section(dump: DumpInProgress, ranges: Mapping[str, list[list[str]]]) -> list[dict[str, Any]]:
    """Return it, the executable first."""
    return [_library(dump, library, ranges) for library in dump.libraries]


def _library(
    dump: DumpInProgress, library: Library, ranges: Mapping[str, list[list[str]]]
) -> dict[str, Any]:
    was_read = library.sha256 is not None
    return {
        "path": library.path,
        "archive_path": library.archive_paths[0] if in_bundle(dump) and was_read else None,
        "status": library.status,
        "reason": library.reason,
        "deleted": library.deleted,
        "source": _source(library),
        "size": library.size,
        "sha256": library.sha256,
        "build_id": library.build_id,
        "soname": library.soname,
        "aliases": None if library.aliases is None else list(library.aliases),
        "ranges": ranges.get(library.path, []),
    }


def _source(library: Library) -> str | None:
    if library.source is None:
        return None
    return "file" if library.source == library.path else "mapping"


def read_ranges() -> dict[str, list[list[str]]]:
    """Return, for each path, the rows of proc(5), maps: start, end, offset in the file."""
    try:
        lines = Path(_MAPS).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return {}
    ranges: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in lines:
        span, _, offset, _, _, *path = line.split(maxsplit=5)
        if path:
            numbers = [f"0x{number.lstrip('0') or '0'}" for number in (*span.split("-"), offset)]
            ranges[path[0].replace("\\012", "\n").removesuffix(_DELETED)].append(numbers)
    return ranges
