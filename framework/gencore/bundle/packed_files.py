"""Keeps libraries as bundles have them, so that the next dump need not compress them again.

Each is a file of its own, named after the SHA-256 of the library: the gzip members of its blocks,
the length of each (32 bits, little-endian), and the CRC-32 of all that. A file that was cut off or
damaged, as after a power failure, is not used. See docs/decisions/0031.
"""

import contextlib
import hashlib
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import attrs
from isal import isal_zlib

from gencore._cache_directory import cache_directory, make_private
from gencore._private_directory import DIRECTORY, is_private, names_in
from gencore._runtime.regular_file import open_regular
from gencore.bundle.contents import BLOCK_SIZE, blocks_of
from gencore.bundle.gzip_member import LEVEL
from gencore.errors import GencoreError
from gencore.libraries import Library

__all__ = ["Kept", "PackedFile", "PackedFiles", "Packer", "clear", "kept"]

_DIRECTORY: Final = "packed"
_SUFFIX: Final = f".{LEVEL}-{BLOCK_SIZE >> 20}M"
"""Of names: what was packed in another way is not found."""
_LEAST: Final = 256 << 10
"""Bytes of a library from which it is worth a file: smaller ones take microseconds."""
_MOST: Final = 1 << 30
"""Bytes of all together, beside those of the libraries of the last dump."""
_HALF_MADE: Final = 3600.0
"""Seconds after which a file that is not complete was left by a dump that was killed."""
_CHECK: Final = struct.Struct("<I")


@attrs.frozen
class PackedFile:
    """A file of *size* bytes in gzip members of a block each."""

    size: int
    sha256: str
    members: tuple[memoryview, ...]


@attrs.define(eq=False)
class Packer:
    """Takes the gzip members of one file while a bundle is written."""

    size: int
    sha256: str
    _fd: int
    _temporary: str
    _digest: Any = attrs.field(factory=hashlib.sha256, init=False)
    _lengths: list[int] = attrs.field(factory=list, init=False)
    _crc: int = attrs.field(default=0, init=False)
    _failed: bool = attrs.field(default=False, init=False)

    def check(self, data: memoryview) -> None:
        """Take the next bytes of the file itself, which may change while it is read."""
        self._digest.update(data)

    def write(self, member: bytes) -> None:
        """Take the next one. What goes wrong costs the next dump time, not this one its bundle."""
        self._lengths.append(len(member))
        self._append(member)
        if self._is_complete:
            self._append(struct.pack(f"<{len(self._lengths)}I", *self._lengths))
            self._append(_CHECK.pack(self._crc))
            os.close(self._fd)

    def _append(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            if not self._failed:
                self._failed = os.write(self._fd, data) != len(data)
            self._crc = isal_zlib.crc32(data, self._crc)
            return
        self._failed = True

    @property
    def _is_complete(self) -> bool:
        return len(self._lengths) == blocks_of(self.size)

    def end(self, directory: int) -> None:
        """Give the file its name if all of it is there, or remove it. Raises OSError."""
        if not self._is_complete:
            os.close(self._fd)
        unchanged = self._digest.hexdigest() == self.sha256
        if unchanged and self._is_complete and not self._failed:
            name = self.sha256 + _SUFFIX
            os.rename(self._temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(self._temporary, dir_fd=directory)


class PackedFiles:
    """The packed files of this user; empty, and it stays so, where there is no place for them.

    It is made in the user's directory for caches, which has to be there already.
    """

    def __init__(self) -> None:
        self._packers: dict[str, Packer] = {}
        self._began = time.time()
        self._fd: int | None = None
        with contextlib.suppress(GencoreError, OSError):
            self._fd = _opened(cache_directory(_DIRECTORY))

    def find(self, library: Library) -> PackedFile | None:
        """Return it if it was packed before."""
        if self._fd is None or library.sha256 is None or not _is_worth_it(library):
            return None
        try:
            with open_regular(
                library.sha256 + _SUFFIX, flags=os.O_NOFOLLOW, dir_fd=self._fd
            ) as file:
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                os.utime(file.fileno())
        except (OSError, ValueError):  # an empty file cannot be mapped
            return None
        size = library.size or 0
        members = _members(data, blocks_of(size))
        return None if members is None else PackedFile(size, library.sha256, members)

    def packer(self, library: Library) -> Packer | None:
        """Return what takes it while it is packed; None if it need not be kept."""
        size, sha256 = library.size or 0, library.sha256
        if self._fd is None or sha256 is None or not _is_worth_it(library):
            return None
        if sha256 in self._packers:  # under another of its names
            return None
        name = f".{secrets.token_hex(8)}"
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._fd)
        except OSError:
            return None
        packer = self._packers[sha256] = Packer(size, sha256, fd, name)
        return packer

    def close(self) -> None:
        """Keep what was packed, and remove the files that were not used for longest."""
        if self._fd is None:
            return
        for packer in self._packers.values():
            with contextlib.suppress(OSError):
                packer.end(self._fd)
        self._packers.clear()
        with contextlib.suppress(OSError):
            _shrink(self._fd, self._began)
        os.close(self._fd)
        self._fd = None


def _is_worth_it(library: Library) -> bool:
    """Data and sources are not kept: they may be secret, and are small."""
    return library.status == "ok" and (library.size or 0) >= _LEAST


@attrs.frozen
class Kept:
    """What is kept, or what of it was removed."""

    path: Path
    size: int
    """Bytes of all files."""
    used_at: float
    """When one of them was used last, as `time.time` has it."""


def kept() -> Kept | None:
    """Return what is kept for this user; None if there is nothing."""
    return _summary(lambda _name, _status, _fd: True)


def clear(older_than: float = 0) -> Kept | None:
    """Remove what no dump has used for so many seconds; return that."""
    until = time.time() - older_than
    return _summary(lambda name, status, fd: status.st_mtime <= until and _remove(name, fd))


def _summary(counts: Callable[[str, os.stat_result, int], bool]) -> Kept | None:
    """Sum up those files that count."""
    path = cache_directory(_DIRECTORY)
    try:
        fd = os.open(path, DIRECTORY)
    except OSError:
        return None
    try:
        found = [status for name, status in _statuses(fd) if counts(name, status, fd)]
    finally:
        os.close(fd)
    if not found:
        return None
    used_at = max(status.st_mtime for status in found)
    return Kept(path, sum(status.st_size for status in found), used_at)


def _remove(name: str, fd: int) -> bool:
    try:
        os.unlink(name, dir_fd=fd)
    except OSError:
        return False
    return True


def _opened(directory: Path) -> int | None:
    if not directory.parent.parent.is_dir():
        return None
    make_private(directory)
    fd = os.open(directory, DIRECTORY)
    if is_private(os.fstat(fd)):
        return fd
    os.close(fd)
    return None


def _members(data: memoryview, count: int) -> tuple[memoryview, ...] | None:
    """Return the gzip members in a file; None if it is damaged, or of another size."""
    table = struct.Struct(f"<{count}I")
    end = len(data) - _CHECK.size
    begin = end - table.size
    if begin < 0 or isal_zlib.crc32(data[:end]) != _CHECK.unpack(data[end:])[0]:
        return None
    places = list(accumulate(table.unpack(data[begin:end]), initial=0))
    if places[-1] != begin:
        return None
    return tuple(data[start:stop] for start, stop in pairwise(places))


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
            size -= status.st_size
            _remove(name, fd)


def _statuses(fd: int) -> Iterator[tuple[str, os.stat_result]]:
    for name in names_in(fd):
        with contextlib.suppress(OSError):  # another dump has removed it
            yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
