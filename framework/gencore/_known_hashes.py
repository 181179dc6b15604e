"""Remembers the SHA-256 of libraries, so that not every dump reads those that did not change.

The kernel notes when a file was changed last (ctime, see inode(7)), and nobody can set that. See
docs/decisions/0043.
"""

import contextlib
import hashlib
import io
import json
import os
import time
from typing import Final, Self

from gencore._cache_directory import open_kept
from gencore._private_directory import NEW_FILE, boot
from gencore._runtime.os_thread import open_descriptor
from gencore._runtime.regular_file import open_regular
from gencore.errors import GencoreError

__all__ = ["KnownHashes", "read_sha256"]

_DIRECTORY: Final = "packed"
"""With the libraries that are found by these hashes: who removes them removes both."""
_FILE: Final = "hashes"
_MOST: Final = 1000
"""Libraries that are remembered, those of the last dump first."""
_SETTLED: Final = 60.0
"""Seconds without a change after which a file is believed to have a new ctime after the next one.
Clocks have steps, and a change through mapped memory is noted once it is written to the disk."""


class KnownHashes(contextlib.AbstractContextManager["KnownHashes"]):
    """The hashes that this user's dumps have computed since the machine was started.

    Leaving the context keeps those of this dump, where there is a place for them.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._used: dict[str, str] = {}
        self._now = time.time()
        self._fd: int | None = None

    def __enter__(self) -> Self:
        """Read them."""
        with contextlib.suppress(GencoreError, OSError):
            self._fd = open_kept(_DIRECTORY)
        if self._fd is not None:
            self._known = _read(self._fd)
        return self

    def sha256_of(self, file: io.FileIO, build_id: str) -> tuple[int, str]:
        """Return size and hash of a library. It is read unless they are known. Raises OSError."""
        key = self._key(file, build_id)
        if key in self._known:
            self._used[key] = self._known[key]
            return os.fstat(file.fileno()).st_size, self._known[key]
        size, sha256 = read_sha256(file)
        if key and key == self._key(file, build_id):
            self._used[key] = sha256
        return size, sha256

    def _key(self, file: io.FileIO, build_id: str) -> str:
        """Return what another file has otherwise, or this one after a change; empty if nothing is.

        Images that are only read, such as squashfs, have the times that their maker gave them.
        """
        status, system = os.fstat(file.fileno()), os.fstatvfs(file.fileno())
        is_settled = self._now - status.st_ctime >= _SETTLED
        if not (boot() and is_settled) or system.f_flag & os.ST_RDONLY:
            return ""
        place = f"{status.st_dev} {status.st_ino} {status.st_size}"
        return f"{boot()} {place} {status.st_mtime_ns} {status.st_ctime_ns} {build_id}"

    def __exit__(self, *_: object) -> None:
        """Keep them if there are new ones. Never raises OSError."""
        if self._fd is None:
            return
        if not self._used.keys() <= self._known.keys():
            rows = list((self._used | self._known).items())
            with contextlib.suppress(OSError):
                _write(self._fd, dict(rows[: max(_MOST, len(self._used))]))
        os.close(self._fd)


def read_sha256(file: io.FileIO) -> tuple[int, str]:
    """Read a file from its beginning; return its size and hash. Raises OSError."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return file.tell(), digest


def _read(directory: int) -> dict[str, str]:
    try:
        with open_regular(_FILE, flags=os.O_NOFOLLOW, dir_fd=directory) as file:
            is_ours = os.fstat(file.fileno()).st_uid == os.geteuid()
            return dict(json.loads(file.read())) if is_ours else {}
    except (OSError, TypeError, ValueError):
        return {}


def _write(directory: int, known: dict[str, str]) -> None:
    name = f".{os.urandom(8).hex()}"
    fd = open_descriptor(name, os.O_WRONLY | NEW_FILE, 0o600, dir_fd=directory)
    try:
        with io.FileIO(fd, "wb") as file:
            file.write(json.dumps(known).encode())
        os.rename(name, _FILE, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(name, dir_fd=directory)
        raise
