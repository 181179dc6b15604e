"""Keeps libraries as bundles have them, so that the next dump need not compress them again.

Each is a `packed_file` of its own, named after the SHA-256 of the library and its codec, in a
directory of this user alone. See docs/decisions/0031.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from gencore._cache_directory import cache_directory, open_kept, open_private
from gencore._private_directory import NEW_FILE, names_in
from gencore._runtime.os_thread import open_descriptor
from gencore._runtime.regular_file import open_regular
from gencore.bundle.codecs import GZIP, Codec
from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.packed_file import PackedFile, Packer
from gencore.errors import GencoreError
from gencore.libraries import Library

__all__ = ["Kept", "PackedFiles", "clear", "kept"]

_DIRECTORY: Final = "packed"
_LEAST: Final = 64 << 10
"""Bytes of a library from which it is worth a file: smaller ones are packed as quickly."""
_MOST: Final = 1 << 30
"""Bytes of all together, beside those of the libraries of the last dump."""
_HALF_MADE: Final = 3600.0
"""Seconds after which a file that is not complete was left by a dump that was killed."""
_LEFT_FREE: Final = 1 << 30
"""Bytes that the disk keeps free: a bundle may be made on the same one."""


class PackedFiles:
    """The packed files of this user; empty, and it stays so, where there is no place for them.

    It is made in the user's directory for caches, which has to be there already.
    """

    def __init__(self, codec: Codec = GZIP, level: int = GZIP.level) -> None:
        """Know those that are compressed so: what was packed in another way is not found."""
        self._codec = codec
        self._suffix = f".{codec.name}-{level}-{BLOCK_SIZE >> 20}M"
        self._packers: dict[str, Packer] = {}
        self._began = time.time()
        self._fd: int | None = None
        with contextlib.suppress(GencoreError, OSError):
            self._fd = open_kept(_DIRECTORY)

    def find(self, library: Library) -> PackedFile | None:
        """Return it if it was packed before, open: the caller closes it."""
        sha256 = library.sha256
        if self._fd is None or sha256 is None or not _is_worth_it(library):
            return None
        try:
            file = open_regular(sha256 + self._suffix, flags=os.O_NOFOLLOW, dir_fd=self._fd)
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                file.close()
                return None
            found = PackedFile.read(file, library.size or 0, sha256, self._codec)
        except OSError:
            return None
        if found is not None:
            self._note_use(sha256)
        return found

    def _note_use(self, sha256: str) -> None:
        with contextlib.suppress(OSError):  # only to be read, it is kept by somebody else
            os.utime(sha256 + self._suffix, dir_fd=self._fd, follow_symlinks=False)

    def forget(self, library: Library) -> None:
        """Remove one that turned out to be damaged, so that the next dump packs it anew."""
        if self._fd is not None:
            _remove(f"{library.sha256}{self._suffix}", self._fd)

    def packer(self, library: Library) -> Packer | None:
        """Return what takes it while it is packed; None if it need not be kept."""
        size, sha256 = library.size or 0, library.sha256
        if self._fd is None or sha256 is None or not _is_worth_it(library):
            return None
        if sha256 in self._packers or not _has_room(self._fd, size):  # under another of its names
            return None
        name = f".{os.urandom(8).hex()}"
        try:
            fd = open_descriptor(name, os.O_WRONLY | NEW_FILE, 0o600, dir_fd=self._fd)
        except OSError:
            return None
        packer = self._packers[sha256] = Packer(size, sha256, fd, name, sha256 + self._suffix)
        return packer

    def close(self) -> None:
        """Keep what was packed, and remove the files that were not used for longest."""
        if self._fd is None:
            return
        for packer in self._packers.values():
            with contextlib.suppress(OSError):
                packer.end(self._fd)
        if self._packers:  # or there is no more than before
            with contextlib.suppress(OSError):
                _shrink(self._fd, self._began)
        self._packers.clear()
        os.close(self._fd)
        self._fd = None


def _is_worth_it(library: Library) -> bool:
    """Data and sources are not kept: they may be secret, and are small."""
    return library.status == "ok" and (library.size or 0) >= _LEAST


def _has_room(fd: int, size: int) -> bool:
    try:
        disk = os.statvfs(fd)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize >= size + _LEFT_FREE


@attrs.frozen
class Kept:
    """What is kept, or what of it was removed."""

    path: Path
    size: int
    """Bytes of all files."""
    used_at: float
    """When one of them was used last, as `time.time` has it."""
    error: str | None = None
    """Why one of them could not be removed."""


def kept() -> Kept | None:
    """Return what is kept for this user; None if there is nothing."""
    return _summary(lambda _name, _fd: None, -math.inf)


def clear(older_than: float = 0) -> Kept | None:
    """Remove what no dump has used for so many seconds; return that."""
    return _summary(_remove, older_than)


def _summary(do: Callable[[str, int], str | None], older_than: float) -> Kept | None:
    """Do something to each file that was not used for so many seconds; sum them up."""
    path, until = cache_directory(_DIRECTORY), time.time() - older_than
    try:
        fd = open_private(path)
    except OSError:
        return None
    if fd is None:
        return None
    try:
        found = [
            (status, do(name, fd)) for name, status in _statuses(fd) if status.st_mtime <= until
        ]
    finally:
        os.close(fd)
    if not found:
        return None
    used_at = max(status.st_mtime for status, _ in found)
    errors = (error for _, error in found if error is not None)
    return Kept(path, sum(status.st_size for status, _ in found), used_at, next(errors, None))


def _remove(name: str, fd: int) -> str | None:
    """Remove a file; return why it could not be."""
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:  # another process has done it
        return None
    except OSError as error:
        return str(error)
    return None


def _shrink(fd: int, kept_from: float) -> None:
    """Remove the files that were unused for longest until all together are small enough.

    Those used since then stay: a process with more libraries would otherwise pack each anew.
    """
    found = sorted(_statuses(fd), key=lambda row: row[1].st_mtime)
    size = sum(status.st_size for _, status in found)
    for name, status in found:
        half_made = name.startswith(".")
        age = kept_from - status.st_mtime
        if age > _HALF_MADE if half_made else (size > _MOST and age > 0):
            size -= 0 if _remove(name, fd) else status.st_size


def _statuses(fd: int) -> Iterator[tuple[str, os.stat_result]]:
    for name in names_in(fd):
        with contextlib.suppress(OSError):  # another dump has removed it
            yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
