"""The section ``libraries``: every mapped file, where it was mapped and what it is called."""

from collections.abc import Iterable, Mapping
from typing import Any

from gencore import DumpInProgress
from gencore.libraries import Library
from gencore.memory_map import MappedRange
from gencore_collectors.manifest.contents import in_bundle

__all__ = ["section"]


def section(dump: DumpInProgress, mapped: Iterable[MappedRange]) -> list[dict[str, Any]]:
    """Return it, the executable first."""
    ranges = _by_name(mapped)
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
        "ranges": ranges.get(library.path) or ranges.get(f"{library.path} (deleted)", []),
    }


def _source(library: Library) -> str | None:
    if library.source is None:
        return None
    return "file" if library.source == library.path else "mapping"


def _by_name(mapped: Iterable[MappedRange]) -> Mapping[str, list[list[str]]]:
    """Return, for each of the kernel's names, where it is mapped: start, end, offset in the file.

    A library that was replaced and its successor differ only by the kernel's mark.
    """
    by_name: dict[str, list[list[str]]] = {}
    for row in mapped:
        by_name.setdefault(row.name, []).append([hex(row.start), hex(row.end), hex(row.offset)])
    return by_name
