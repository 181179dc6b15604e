"""Writes a bundle.

The file is a POSIX (pax) tar in a series of independent frames, such as gzip members, so that
blocks are compressed in parallel, each can be read alone, and any ``tar xf`` opens it. Every
header of the tar is a frame, and so is every block of a file; `contents` records them.
"""

import contextlib
import io
import os
import tarfile
from _queue import Empty, SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import BinaryIO, Final

import attrs

from gencore._runtime.os_thread import Latch, NoThread, OsThread
from gencore.bundle.codecs import GZIP, Codec, Compressor
from gencore.bundle.contents import BLOCK_SIZE, Member, blocks_of, check_path, encode
from gencore.bundle.packed_file import PackedFile, Packer
from gencore.bundle.places import Places
from gencore.bundle.tree_hash import block_hash, root_hash

__all__ = ["BundleWriter"]

_WORKERS: Final = min(4, os.cpu_count() or 1)
_NAME: Final = "gencore-pack"


class BundleWriter:
    """Writes one bundle to *file*, one member after the other, with all members below *top*."""

    def __init__(
        self,
        file: "BinaryIO | io.BufferedIOBase",
        top: str,
        mtime: float,
        codec: Codec = GZIP,
        level: int | None = None,
    ) -> None:
        """Compress with *level*, or as the codec usually does."""
        level = codec.level if level is None else level
        self._codec = codec
        self._frames = _Frames(file, partial(codec.compressor, level))
        self._file = file
        self._top = top
        self._files: dict[str, _File] = {}
        self._places = Places()
        self._mtime = int(mtime)
        self._left = 0

    def __contains__(self, path: str) -> bool:
        """Whether no other member can have this path."""
        return path in self._places

    def begin(
        self,
        path: str,
        size: int,
        *,
        mode: int = 0o600,
        sha256: str | None = None,
        tree: bool = False,
        packer: Packer | None = None,
    ) -> None:
        """Begin the member *path* of exactly *size* bytes, which `write` then takes.

        *sha256* is that of its bytes, if it is known; with *tree*, each block is hashed instead.
        *packer* gets each of its frames. Raises `ValueError` for what a reader would refuse:
        a path that is not in normal form below the top folder, a second file of one, or a file
        where another one's folder is.
        """
        self._add_header(path, _File(size, sha256, [] if tree else None, packer), mode)
        self._left = size
        self._block = bytearray()

    def add_packed(self, path: str, file: PackedFile, *, mode: int) -> None:
        """Add a member that was packed before.

        Raises `ValueError` as `begin` does, and OSError.
        """
        self._add_header(path, _File(file.size, file.sha256, None, None), mode)
        for frame in file.frames():
            self._frames.add_compressed(frame)

    def _add_header(self, path: str, file: "_File", mode: int) -> None:
        check_path(path)
        if not self._places.take(path):
            raise ValueError(f"{path!r} is in the bundle already, as a file or a folder")
        self._file_now = self._files[path] = file
        info = tarfile.TarInfo(f"{self._top}/{path}")
        info.size, info.mode, info.mtime = file.size, mode, self._mtime
        self._frames.add(bytearray(info.tobuf(tarfile.PAX_FORMAT)))

    def write(self, data: "bytes | memoryview") -> None:
        """Write the next bytes of the member. Raises OSError if they are more than promised."""
        data = memoryview(data).cast("B")  # len() of an array's view counts its items
        self._left -= data.nbytes
        if self._left < 0:
            raise OSError("a file grew while it was being packed")
        if self._file_now.packer is not None:
            self._file_now.packer.check(data)
        while data:
            room = BLOCK_SIZE - len(self._block)
            self._block += data[:room]
            data = data[room:]
            if len(self._block) == BLOCK_SIZE:
                self._end_block()

    def end(self, *, short: int = 0) -> None:
        """End the member, padded with zeros for missing bytes: the tar stays readable.

        Raises OSError unless exactly *short* bytes are missing.
        """
        missing = self._left
        while self._left:
            self.write(bytes(min(self._left, BLOCK_SIZE)))
        if self._block:
            self._end_block()
        if missing != short:
            raise OSError("a file shrank while it was being packed")

    def tree_hash(self, path: str) -> str | None:
        """Return the hash over the blocks of a member that has ended; None without *tree*."""
        leaves = self._files[path].leaves
        return None if leaves is None else root_hash(leaves)

    def close(self) -> None:
        """Write the end of the archive and the table of contents. *file* stays open."""
        self._frames.add(bytearray(2 * tarfile.BLOCKSIZE))
        self._frames.close()
        table = encode(self._top, self._members(), self._frames.written, self._codec)
        self._file.write(table)

    def abort(self) -> None:
        """Release everything; the file is then not a valid bundle."""
        self._frames.abort()

    def _end_block(self) -> None:
        """Hash the file's part of it, and pad the last block of a file as tar does."""
        if self._file_now.leaves is not None:
            self._file_now.leaves.append(block_hash(self._block))
        self._block += bytes(-len(self._block) % tarfile.BLOCKSIZE)
        self._frames.add(self._block, self._file_now.packer)
        self._block = bytearray()

    def _members(self) -> Iterator[Member]:
        offset, lengths = 0, iter(self._frames.lengths)
        for path, file in self._files.items():
            own = tuple(islice(lengths, 1 + blocks_of(file.size)))
            leaves = None if file.leaves is None else tuple(file.leaves)
            yield Member(path, file.size, offset, file.sha256, own, leaves)
            offset += sum(own)


@attrs.frozen
class _File:
    """A file that is in the bundle, or being written to it."""

    size: int
    sha256: str | None
    leaves: list[bytes] | None
    """The hashes of its blocks so far; None if they are not wanted."""
    packer: Packer | None


class _Frames:
    """Compresses blocks, each to a frame, and writes them in order.

    Our threads compress the blocks; the caller compresses those that no thread has taken yet,
    which is all of them if no thread can be started.
    """

    def __init__(
        self, file: "BinaryIO | io.BufferedIOBase", compressor: Callable[[], Compressor]
    ) -> None:
        """Call *compressor* in each thread that compresses."""
        self._file = file
        self._compressor = compressor
        self._compress = compressor()
        self.lengths: list[int] = []
        """Of each frame that is written, in bytes."""
        self._threads: list[OsThread] = []
        self._waiting: SimpleQueue[_Block | None] = SimpleQueue()
        self._pending: deque[_Block] = deque()

    @property
    def written(self) -> int:
        """Compressed bytes so far."""
        return sum(self.lengths)

    def add(self, data: bytearray, packer: Packer | None = None) -> None:
        """Write *data*, the caller's no longer, as one frame, which *packer* gets too."""
        block = _Block(data, packer)
        self._pending.append(block)
        self._waiting.put(block)
        self._start_thread()
        self._write_until_pending(2 * _WORKERS)

    def add_compressed(self, frame: bytes) -> None:
        """Write a frame behind all that was added."""
        block = _Block(frame)
        block.done.open()
        self._pending.append(block)
        self._write_until_pending(2 * _WORKERS)

    def close(self) -> None:
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
                work = partial(_compress_each, self._waiting, self._compressor)
                self._threads.append(OsThread(work, _NAME))

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
                block.compress(self._compress)

    def _write_one(self, block: "_Block") -> None:
        if block.error is not None:
            raise block.error
        self.lengths.append(self._file.write(block.data))
        if block.packer is not None:
            block.packer.write(bytes(block.data))


class _Block:
    """Bytes that become one frame."""

    def __init__(self, data: bytearray | bytes, packer: Packer | None = None) -> None:
        self.data: bytearray | bytes = data
        """Compressed once it is `done`."""
        self.packer = packer
        self.done = Latch()
        self.error: BaseException | None = None

    def compress(self, compress: Compressor) -> None:
        try:
            self.data = compress(self.data)
        except BaseException as error:  # belongs to who waits
            self.error = error
        self.done.open()


def _compress_each(
    waiting: "SimpleQueue[_Block | None]", compressor: Callable[[], Compressor]
) -> None:
    compress = compressor()
    while (block := waiting.get()) is not None:
        block.compress(compress)
