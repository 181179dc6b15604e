"""Reads from /proc about a process: threads, memory, mapped files."""

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from gencore import MappedFile
from gencore.memory_map import MappedRange, parse_memory_map
from gencore.runtime import reraise_if_from_handler
from gencore.target import Target
from gencore_backends.linux.data_mappings import DataMapping, data_mappings
from gencore_backends.linux.link_map import loaded_files
from gencore_backends.linux.process_access import ProcessAccess

__all__ = ["core_size", "mapped_files", "read_status", "stacks_size"]

_USUAL_STACK: Final = 8 << 20
"""Bytes of a stack, at most, unless more are requested: RLIMIT_STACK of most systems."""
_READERS_DATA: Final = 64 << 20
"""Bytes of the data of libraries, and of the interpreter's structures, in a core of stacks."""
_LARGE: Final = 64 << 20
"""Bytes of a mapping from which its file is checked: the mapping may extend far beyond it."""
_DELETED: Final = " (deleted)"
_IN_MEMORY: Final = ("/dev/zero", "/memfd:", "/SYSV")
"""How the names of shared memory begin: of that only resident pages are in a core, RssShmem."""


def mapped_files(access: ProcessAccess, clone: int | None) -> tuple[MappedFile, ...]:
    """Return every mapped file, the executable first, then in order of address.

    *clone*: the process ID of a clone of the process, which may have ended; None if it is known
    that no memory of files is marked with MADV_DONTDUMP.
    """
    executable, source = access.executable()
    sources = {executable: source}
    rows = access.memory_map()
    for row in rows:
        if row.name.startswith("/") and row.inode:
            sources.setdefault(row.name, access.mapped_file(row))
    known = access.loaded_files or loaded_files(access)
    aliases = None if known is None else _aliases(known, rows)
    smaps = None if clone is None else access.smaps_of(clone)
    data = data_mappings(rows, access.target, smaps)
    return tuple(_mapped_file(path, sources, aliases, data, access) for path in sources)


def _mapped_file(
    path: str,
    sources: Mapping[str, str],
    aliases: Mapping[str, tuple[str, ...]] | None,
    data: Mapping[str, DataMapping],
    access: ProcessAccess,
) -> MappedFile:
    """Remove the kernel's " (deleted)", unless the file's successor is mapped too."""
    source = sources[path]
    as_data = data.get(path, DataMapping((), dontdump=False))
    deleted = path.endswith(_DELETED) and not Path(access.root + path).exists()
    if deleted and path.removesuffix(_DELETED) not in sources:
        path = path.removesuffix(_DELETED)
    return MappedFile(
        path=path,
        deleted=deleted,
        read_from=access.read_from(path, source, deleted=deleted),
        aliases=None if aliases is None else aliases.get(path, ()),
        data=as_data.spans,
        dontdump=as_data.dontdump,
    )


def _aliases(
    known: Iterable[tuple[str, int]], rows: Sequence[MappedRange]
) -> dict[str, tuple[str, ...]]:
    """Return, for each path, the linker's other names for what is mapped from it.

    Found by where it is mapped: the names may lead elsewhere now, and in another root they do.
    Relative names are left out: the directory that they were relative to may have changed.
    """
    aliases: defaultdict[str, list[str]] = defaultdict(list)
    ends = [row.end for row in rows]
    for name, address in known:
        at = bisect_right(ends, address)
        if at == len(rows) or rows[at].start > address:
            continue
        if not (name.startswith("/") and rows[at].name.startswith("/")):
            continue
        path = rows[at].path
        if path != name and name not in aliases[path]:
            aliases[path].append(name)
    return {path: tuple(others) for path, others in aliases.items()}


def core_size(target: Target, *, with_files: bool) -> int:
    """Estimate from above the bytes that a core takes on disk.

    Counts resident and swapped memory, and everything mapped from files, resident or not: those
    that are gone, and *with_files* all (proc(5), status and maps; smaps_rollup would walk every
    page).
    """
    kibibytes = _numbers_of_status(target, "RssAnon", "RssFile", "RssShmem", "VmSwap")
    return sum(kibibytes) * 1024 + _mapped_bytes(target, only_deleted=not with_files)


def stacks_size(target: Target) -> int:
    """Estimate the bytes of a core of stacks and of the data that readers of them need."""
    (threads,) = _numbers_of_status(target, "Threads")
    return threads * _USUAL_STACK + _READERS_DATA


def _numbers_of_status(target: Target, *keys: str) -> list[int]:
    """Return the first number of each row of /proc/PID/status that is there."""
    return [int(value.split()[0]) for key, value in read_status(target).items() if key in keys]


def read_status(target: Target) -> dict[str, str]:
    """Return the rows of /proc/PID/status by their keys, see proc(5). Raises OSError."""
    text = Path(target.proc("status")).read_text(errors="replace")
    rows = (line.partition(":") for line in text.split("\n"))
    return {key: value.strip() for key, separator, value in rows if separator}


def _mapped_bytes(target: Target, *, only_deleted: bool) -> int:
    """Return the bytes of mapped files; 0 for a process whose map is closed to us."""
    try:
        rows = parse_memory_map(Path(target.proc("maps")).read_bytes())
    except PermissionError:
        if target.other is None:
            raise
        return 0
    files = (row for row in rows if row.inode)
    if only_deleted:
        files = (row for row in files if row.deleted and not row.name.startswith(_IN_MEMORY))
    return sum(map(_bytes_of_file, files))


def _bytes_of_file(row: MappedRange) -> int:
    """Return the bytes of a file that a row of the map can hold: none beyond its end."""
    mapped = row.end - row.start
    if mapped < _LARGE or not row.name:
        return mapped
    try:
        size = os.stat(row.name).st_size  # noqa: PTH116 - no objects
    except OSError as error:  # deleted, perhaps
        reraise_if_from_handler(error)
        return mapped
    return min(mapped, max(0, size - row.offset))
