"""What /proc says about this process: threads, memory, mapped files."""

import os
from pathlib import Path
from typing import Final

from gencore import MappedFile

__all__ = ["core_size", "mapped_files", "thread_name"]

_SELF: Final = Path("/proc/self")
_DELETED: Final = " (deleted)"


def thread_name(tid: int) -> str:
    """Return a thread's name, or nothing if it has ended."""
    try:
        return (_SELF / "task" / str(tid) / "comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ""


def mapped_files() -> tuple[MappedFile, ...]:
    """Return every mapped regular file, the executable first, then in order of address."""
    paths = dict.fromkeys([os.readlink(_SELF / "exe")])
    for line in (_SELF / "maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/") and fields[4] != "0":  # noqa: PLR2004
            paths[fields[5].replace("\\012", "\n")] = None
    return tuple(_mapped_file(path) for path in paths if not path.startswith(("/dev/", "/memfd:")))


def _mapped_file(path: str) -> MappedFile:
    deleted = path.endswith(_DELETED) and not Path(path).exists()
    return MappedFile(path=path.removesuffix(_DELETED) if deleted else path, deleted=deleted)


def core_size(*, with_files: bool) -> int:
    """Estimate from above the bytes that a core takes on disk.

    Resident and swapped memory, and *with_files* everything that is mapped from files, read or
    not (proc(5), status and maps; smaps_rollup walks every page).
    """
    kibibytes = dict.fromkeys(("RssAnon", "RssFile", "RssShmem", "VmSwap"), 0)
    for line in (_SELF / "status").read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key in kibibytes:
            kibibytes[key] = int(value.split()[0])
    return sum(kibibytes.values()) * 1024 + (_mapped_bytes() if with_files else 0)


def _mapped_bytes() -> int:
    total = 0
    for line in (_SELF / "maps").read_text(errors="surrogateescape").splitlines():
        span, _, _, _, inode, *_ = line.split(maxsplit=5)
        if inode != "0":
            start, end = span.split("-")
            total += int(end, 16) - int(start, 16)
    return total
