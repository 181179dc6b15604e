"""Writes a bundle's tar.gz.

The file is a POSIX (pax) tar inside a series of independent gzip members (RFC 1952, 2.2), so that
blocks are compressed in parallel and any ``tar xzf`` opens it. Every file in the tar begins a new
gzip member; `contents` tells where.
"""

import io
import os
import tarfile
from collections import deque
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import BinaryIO, Final

from gencore.backend import CHUNK_SIZE
from gencore.bundle.contents import Member, encode

__all__ = ["BundleWriter"]

_LEVEL: Final = 2
"""isal's level: measured as the fastest of 0 to 3 on real cores, at the same size as 1 and 3."""
_WORKERS: Final = min(4, os.cpu_count() or 1)


class BundleWriter:
    """Writes one bundle to *file*, one member after the other, with all members below *top*."""

    def __init__(self, file: "BinaryIO | io.BufferedIOBase", top: str, mtime: float) -> None:
        self._gzip = _GzipMembers(file)
        self._file = file
        self._top = top
        self._members: list[tuple[str, int, str | None]] = []
        self._mtime = int(mtime)
        self._left = 0
        self._padding = 0

    def begin(self, path: str, size: int, *, mode: int = 0o600, sha256: str | None = None) -> None:
        """Begin the member *path* of exactly *size* bytes, to be given to `write`.

        *sha256* is that of its bytes, where it is known.
        """
        info = tarfile.TarInfo(f"{self._top}/{path}")
        info.size, info.mode, info.mtime = size, mode, self._mtime
        self._members.append((path, size, sha256))
        self._gzip.end_member()
        self._gzip.mark()
        self._gzip.write(info.tobuf(tarfile.PAX_FORMAT))
        self._left = size
        self._padding = -size % tarfile.BLOCKSIZE

    def write(self, data: "bytes | memoryview") -> None:
        """Write the next bytes of the member. Raises OSError if they are more than promised."""
        self._left -= len(data)
        if self._left < 0:
            raise OSError("a file grew while it was being packed")
        self._gzip.write(data)

    def end(self, *, short: int = 0) -> None:
        """End the member, with zeros where bytes are missing: the tar stays readable.

        Raises OSError if not exactly *short* bytes are missing.
        """
        missing = self._left
        self._write_zeros(missing + self._padding)
        self._left = self._padding = 0
        if missing != short:
            raise OSError("a file shrank while it was being packed")

    def close(self) -> None:
        """Write the end of the archive and the table of contents. *file* stays open."""
        self._gzip.end_member()
        self._write_zeros(2 * tarfile.BLOCKSIZE)
        self._gzip.close()
        rows = zip(self._members, self._gzip.marks, strict=True)
        members = (Member(path, size, at, sha256) for (path, size, sha256), at in rows)
        self._file.write(encode(self._top, members, self._gzip.written))

    def abort(self) -> None:
        """Release everything; the file is not a bundle."""
        self._gzip.abort()

    def _write_zeros(self, length: int) -> None:
        zeros = bytes(min(length, CHUNK_SIZE))
        while length > 0:
            self._gzip.write(zeros[:length])
            length -= len(zeros)


class _GzipMembers:
    """Compresses blocks in threads, each to a gzip member; another thread writes them in order.

    Not concurrent.futures: its pools take no work once the main thread has ended, and a process
    that exits finishes its dump first.
    """

    def __init__(self, file: "BinaryIO | io.BufferedIOBase") -> None:
        self._file = file
        self.written = 0
        """Compressed bytes so far."""
        self.marks: list[int] = []
        """Where in the file the marked members begin."""
        self._marked = False
        self._block = bytearray()
        self._pools: tuple[ThreadPool, ...] = (ThreadPool(_WORKERS), ThreadPool(1))
        self._pending: deque[AsyncResult[None]] = deque()

    def write(self, data: "bytes | memoryview") -> None:
        self._block += data
        if len(self._block) >= CHUNK_SIZE:
            self.end_member()

    def mark(self) -> None:
        """Remember where the next gzip member will begin."""
        self._marked = True

    def end_member(self) -> None:
        if self._block:
            compressors, writer = self._pools
            compressed = compressors.apply_async(_compress, (self._block,))
            write = writer.apply_async(self._write_one, (compressed, self._marked))
            self._pending.append(write)
            self._block = bytearray()
            self._marked = False
        self._wait_until_pending(2 * _WORKERS)

    def close(self) -> None:
        self.end_member()
        try:
            self._wait_until_pending(0)
        finally:
            self.abort()

    def abort(self) -> None:
        pools, self._pools = self._pools, ()  # their pipes are closed with the last reference
        self._pending.clear()
        for pool in reversed(pools):
            pool.terminate()
            pool.join()

    def _write_one(self, compressed: "AsyncResult[bytes]", marked: bool) -> None:  # noqa: FBT001
        if marked:
            self.marks.append(self.written)
        self.written += self._file.write(compressed.get())

    def _wait_until_pending(self, count: int) -> None:
        while len(self._pending) > count:
            self._pending.popleft().get()


def _compress(block: bytearray) -> bytes:
    from isal import igzip

    return igzip.compress(block, _LEVEL)
