"""Writes a bundle's tar.gz.

The file is a POSIX (pax) tar inside a series of independent gzip members (RFC 1952, 2.2), so that
blocks are compressed in parallel and any ``tar xzf`` opens it. Every file in the tar begins a new
gzip member; `contents` records its offset.
"""

import contextlib
import io
import os
import tarfile
from _queue import Empty, SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections import deque
from functools import partial
from typing import BinaryIO, Final

from isal import igzip

from gencore._runtime.os_thread import Latch, NoThread, OsThread
from gencore.bundle.contents import Member, check_path, encode, folders_of
from gencore.core_stream import CHUNK_SIZE

__all__ = ["LEVEL", "BundleWriter"]

LEVEL: Final = 2
"""isal's level: measured as the fastest of 0 to 3 on real cores, at the same size as 1 and 3."""
_WORKERS: Final = min(4, os.cpu_count() or 1)
_NAME: Final = "gencore-pack"


class BundleWriter:
    """Writes one bundle to *file*, one member after the other, with all members below *top*."""

    def __init__(self, file: "BinaryIO | io.BufferedIOBase", top: str, mtime: float) -> None:
        self._gzip = _GzipMembers(file)
        self._file = file
        self._top = top
        self._members: list[tuple[str, int, str | None]] = []
        self._paths: set[str] = set()
        self._folders: set[str] = set()
        self._mtime = int(mtime)
        self._left = 0
        self._padding = 0

    def __contains__(self, path: str) -> bool:
        """Whether the path is taken: a member has it, or it would be a file and a directory."""
        is_there = path in self._paths or path in self._folders
        return is_there or not self._paths.isdisjoint(folders_of(path))

    def begin(self, path: str, size: int, *, mode: int = 0o600, sha256: str | None = None) -> None:
        """Begin the member *path* of exactly *size* bytes, which `write` then takes.

        *sha256* is that of its bytes, if it is known. Raises `ValueError` for what a reader would
        refuse: a path that is not in normal form below the top folder, or one that is taken.
        """
        check_path(path)
        if path in self:
            raise ValueError(f"{path!r} is in the bundle already")
        self._paths.add(path)
        self._folders.update(folders_of(path))
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
        data = memoryview(data).cast("B")  # len() of an array's view counts its items
        self._left -= data.nbytes
        if self._left < 0:
            raise OSError("a file grew while it was being packed")
        self._gzip.write(data)

    def end(self, *, short: int = 0) -> None:
        """End the member, padded with zeros for missing bytes: the tar stays readable.

        Raises OSError unless exactly *short* bytes are missing.
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
        """Release everything; the file is then not a valid bundle."""
        self._gzip.abort()

    def _write_zeros(self, length: int) -> None:
        zeros = bytes(min(length, CHUNK_SIZE))
        while length > 0:
            self._gzip.write(zeros[:length])
            length -= len(zeros)


class _GzipMembers:
    """Compresses blocks, each to a gzip member, and writes them in order.

    Our threads compress the blocks; the caller compresses those that no thread has taken yet,
    which is all of them if no thread can be started.
    """

    def __init__(self, file: "BinaryIO | io.BufferedIOBase") -> None:
        self._file = file
        self.written = 0
        """Compressed bytes so far."""
        self.marks: list[int] = []
        """Where in the file the marked members begin."""
        self._marked = False
        self._data = bytearray()
        self._threads: list[OsThread] = []
        self._waiting: SimpleQueue[_Block | None] = SimpleQueue()
        self._pending: deque[_Block] = deque()

    def write(self, data: "bytes | memoryview") -> None:
        self._data += data
        if len(self._data) >= CHUNK_SIZE:
            self.end_member()

    def mark(self) -> None:
        """Remember where the next gzip member will begin."""
        self._marked = True

    def end_member(self) -> None:
        if self._data:
            block = _Block(self._data, marked=self._marked)
            self._data, self._marked = bytearray(), False
            self._pending.append(block)
            self._waiting.put(block)
            self._start_thread()
        self._write_until_pending(2 * _WORKERS)

    def close(self) -> None:
        self.end_member()
        try:
            self._write_until_pending(0)
        finally:
            self.abort()

    def abort(self) -> None:
        self._pending.clear()
        self._end_threads()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __del__(self) -> None:
        """End the threads if that was not done. Without waiting: this may be a forked child."""
        if "_pending" in vars(self):
            self._end_threads()

    def _start_thread(self) -> None:
        if len(self._threads) < _WORKERS:
            with contextlib.suppress(NoThread):
                self._threads.append(OsThread(partial(_compress_each, self._waiting), _NAME))

    def _end_threads(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._waiting.get_nowait()
        for _ in self._threads:
            self._waiting.put(None)

    def _write_until_pending(self, count: int) -> None:
        while len(self._pending) > count or (self._pending and self._pending[0].done.is_open):
            block = self._pending[0]
            if not block.done.is_open:
                self._help()
                continue
            self._pending.popleft()
            self._write_one(block)

    def _help(self) -> None:
        """Compress the next block that no thread has taken, or else wait for the first."""
        try:
            block = self._waiting.get_nowait()
        except Empty:
            self._pending[0].done.wait()
        else:
            if block is not None:
                block.compress()

    def _write_one(self, block: "_Block") -> None:
        if block.error is not None:
            raise block.error
        if block.marked:
            self.marks.append(self.written)
        self.written += self._file.write(block.data)


class _Block:
    """Bytes that become one gzip member."""

    def __init__(self, data: bytearray, *, marked: bool) -> None:
        self.data: bytearray | bytes = data
        """Compressed once it is `done`."""
        self.marked = marked
        self.done = Latch()
        self.error: BaseException | None = None

    def compress(self) -> None:
        try:
            self.data = igzip.compress(self.data, LEVEL)
        except BaseException as error:  # belongs to who waits
            self.error = error
        self.done.open()


def _compress_each(waiting: "SimpleQueue[_Block | None]") -> None:
    while (block := waiting.get()) is not None:
        block.compress()
