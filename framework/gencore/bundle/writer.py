"""Writes a bundle.

The file is a POSIX (pax) tar in a series of independent frames, such as gzip members, so that
blocks are compressed in parallel, each can be read alone, and any ``tar xf`` opens it. Every
header of the tar is a frame, and so is every block of a file; `contents` records them.
Blocks are packed two at a time, because two are hashed in the time of one. Of two that hold
nothing but zeros, such as stacks that were never used, hashes and frames are made once.
"""

import contextlib
import errno
import io
import os
import tarfile
from _queue import Empty, SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import BinaryIO, Final

import attrs

from gencore._runtime.os_thread import Latch, NoThread, OsThread
from gencore._runtime.other_thread import OtherThread
from gencore.bundle.codecs import GZIP, Codec, Compressor
from gencore.bundle.contents import BLOCK_SIZE, Member, blocks_of, check_path, encode
from gencore.bundle.packed_file import PackedFile, Packer
from gencore.bundle.places import Places
from gencore.bundle.tree_hash import block_hash, block_hashes, root_hash

__all__ = ["BundleWriter"]

_WORKERS: Final = min(4, os.cpu_count() or 1)
_NAME: Final = "gencore-pack"
_BATCH: Final = 2 * BLOCK_SIZE
_ZEROS: Final = bytes(_BATCH)


class BundleWriter:
    """Writes one bundle to *file*, one member after the other, with all members below *top*."""

    def __init__(
        self,
        file: "BinaryIO | io.BufferedIOBase",
        top: str,
        mtime: float,
        codec: Codec = GZIP,
        level: int | None = None,
        *,
        bound: bool = False,
    ) -> None:
        """Compress with *level*, or as the codec usually does.

        With *bound* only the calling thread writes to *file*.
        """
        level = codec.level if level is None else level
        self._codec = codec
        self._frames = _Frames(file, partial(codec.compressor, level), bound=bound)
        self._file = file
        self._top = top
        self._files: dict[str, _File] = {}
        self._places = Places()
        self._mtime = int(mtime)
        self._left = 0
        self._buffer: bytearray | None = None
        self._filled = 0

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

    def add_packed(self, path: str, file: PackedFile, *, mode: int) -> int:
        """Add a member that was packed before; return how many of its bytes.

        If not all, the rest can no longer be read: `write` takes it instead, before `end`.
        Raises `ValueError` as `begin` does, and OSError.
        """
        self._add_header(path, _File(file.size, file.sha256, None, None), mode)
        self._left = file.size
        for frame in _readable(file.frames()):
            self._frames.add_compressed(frame)
            self._left -= min(self._left, BLOCK_SIZE)
        return file.size - self._left

    def _add_header(self, path: str, file: "_File", mode: int) -> None:
        check_path(path)
        if not self._places.take(path):
            raise ValueError(f"{path!r} is in the bundle already, as a file or a folder")
        self._file_now = self._files[path] = file
        info = tarfile.TarInfo(f"{self._top}/{path}")
        info.size, info.mode, info.mtime = file.size, mode, self._mtime
        self._frames.add(info.tobuf(tarfile.PAX_FORMAT))

    def room(self) -> memoryview:
        """Return where the next bytes may be put before `write` gets them: it need not copy them.

        At most a block of them.
        """
        return memoryview(self._batch_buffer())[self._filled : self._filled + BLOCK_SIZE]

    def write(self, data: "bytes | memoryview") -> None:
        """Write the next bytes of the member. Raises OSError if they are more than promised."""
        data = memoryview(data).cast("B")  # len() of an array's view counts its items
        self._left -= data.nbytes
        if self._left < 0:
            raise OSError("a file grew while it was being packed")
        if self._file_now.packer is not None:
            self._file_now.packer.check(data)
        while data:
            buffer = self._batch_buffer()
            part = data[: _BATCH - self._filled]
            if part.obj is not buffer:
                memoryview(buffer)[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == _BATCH:
                self._end_batch()

    def end(self, *, short: int = 0) -> None:
        """End the member, padded with zeros for missing bytes: the tar stays readable.

        Raises OSError unless exactly *short* bytes are missing.
        """
        missing = self._left
        while self._left:
            self.write(bytes(min(self._left, BLOCK_SIZE)))
        if self._filled:
            self._end_batch()
        if missing != short:
            raise OSError("a file shrank while it was being packed")

    def tree_hash(self, path: str) -> str | None:
        """Return the hash over the blocks of a member that has ended; None without *tree*."""
        leaves = self._files[path].leaves
        if leaves is None:
            return None
        self._frames.write_all()
        return root_hash(leaves)

    def close(self) -> None:
        """Write the end of the archive and the table of contents. *file* stays open."""
        self._frames.add(bytes(2 * tarfile.BLOCKSIZE))
        self._frames.close()
        table = encode(self._top, self._members(), self._frames.written, self._codec)
        self._file.write(table)

    def abort(self) -> None:
        """Release everything; the file is then not a valid bundle."""
        self._frames.abort()

    def _batch_buffer(self) -> bytearray:
        if self._buffer is None:
            self._buffer = self._frames.buffer()
        return self._buffer

    def _end_batch(self) -> None:
        """Pad the last block of a file as tar does."""
        buffer, self._buffer = self._batch_buffer(), None
        size, self._filled = self._filled, 0
        padded = size + -size % tarfile.BLOCKSIZE
        memoryview(buffer)[size:padded] = bytes(padded - size)
        batch = _Batch(buffer, padded, self._file_now.packer)
        self._frames.add_batch(batch.hashed(size, self._file_now.leaves))

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
    """Compresses batches of blocks, each block to a frame, and writes these in order.

    Our threads hash and compress, and another one writes, see docs/decisions/0038; the caller does
    that for which none can be started. isal leaves the processor's vector registers in a state in
    which SHA-256 is slower by a third: whoever writes, and hashes the file, never calls it.
    """

    def __init__(
        self,
        file: "BinaryIO | io.BufferedIOBase",
        compressor: Callable[[], Compressor],
        *,
        bound: bool,
    ) -> None:
        """Call *compressor* for each thread that compresses. *bound*: the caller writes."""
        self._file = file
        self._compressor = compressor
        self._packing = _Packing(compressor())
        self.lengths: list[int] = []
        """Of each frame that is written, in bytes."""
        self._threads: list[OsThread] = []
        self._waiting: SimpleQueue[_Batch | None] = SimpleQueue()
        self._writer = None if bound else OtherThread("gencore-write")
        self._pending: deque[Callable[[], None]] = deque()
        """What waits until a batch is written, in order."""
        self._free: list[bytearray] = []
        self._aborted = False
        self._failed = False

    @property
    def written(self) -> int:
        """Compressed bytes so far."""
        return sum(self.lengths)

    def buffer(self) -> bytearray:
        """Return room for a batch, with any content."""
        return self._free.pop() if self._free else bytearray(_BATCH)

    def add(self, data: bytes) -> None:
        """Write *data* as one frame."""
        self.add_batch(_Batch(bytearray(data), len(data)))

    def add_batch(self, batch: "_Batch") -> None:
        """Write *batch*, whose buffer is the caller's no longer."""
        self._start_thread()
        if self._threads:
            self._waiting.put(batch)
        else:
            batch.pack(self._packing)
        self._write_in_turn(batch)

    def add_compressed(self, frame: bytes) -> None:
        """Write a frame behind all that was added."""
        self._write_in_turn(_Batch.of_packed(frame))

    def write_all(self) -> None:
        """Wait until everything is packed, and write it."""
        self._wait_until_pending(0)

    def close(self) -> None:
        try:
            self.write_all()
        finally:
            self.abort()

    def abort(self) -> None:
        """Write nothing more. Who closes *file* afterwards may have its descriptor used again."""
        self._end_threads()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        while self._pending:
            with contextlib.suppress(Exception):  # who waited for it has had it
                self._pending.popleft()()
        if self._writer is not None:
            self._writer.join()

    def __del__(self) -> None:
        """End the threads if that was not done. Without waiting: this may be a forked child."""
        if "_pending" in vars(self):
            self._end_threads()

    def _start_thread(self) -> None:
        if len(self._threads) < _WORKERS:
            with contextlib.suppress(NoThread):
                work = partial(_pack_each, self._waiting, _Packing(self._compressor()))
                self._threads.append(OsThread(work, _NAME))

    def _end_threads(self) -> None:
        self._aborted = True
        with contextlib.suppress(Empty):
            while (batch := self._waiting.get_nowait()) is not None:
                batch.done.open()
        for _ in self._threads:
            self._waiting.put(None)

    def _write_in_turn(self, batch: "_Batch") -> None:
        write = partial(self._write_one, batch)
        self._pending.append(write if self._writer is None else self._writer.begin(write))
        self._wait_until_pending(2 * _WORKERS)

    def _wait_until_pending(self, count: int) -> None:
        while len(self._pending) > count:
            self._pending[0]()
            self._pending.popleft()

    def _write_one(self, batch: "_Batch") -> None:
        batch.done.wait()
        if self._aborted:
            return
        if batch.error is not None:
            raise batch.error
        if self._failed:
            raise OSError(errno.EIO, "what comes before could not be written")
        self._failed = True  # until all of it is written: nothing may follow a gap
        if batch.leaves is not None:
            batch.leaves.extend(batch.hashes)
        for frame in batch.frames:
            self.lengths.append(self._file.write(frame))
            if batch.packer is not None:
                batch.packer.write(frame)
        self._failed = False
        if len(batch.buffer) == _BATCH:
            self._free.append(batch.buffer)


class _Batch:
    """Blocks that are packed by one thread, each to a frame: one or two of a file."""

    def __init__(self, buffer: bytearray, size: int, packer: Packer | None = None) -> None:
        self.buffer = buffer
        self.packer = packer
        self.frames: list[bytes] = []
        """Those of its blocks, once it is `done`."""
        self.leaves: list[bytes] | None = None
        """Those of the file before; None if its blocks are not hashed."""
        self.hashes: tuple[bytes, ...] = ()
        self.done = Latch()
        self.error: BaseException | None = None
        self._size = self._unpadded = size

    @classmethod
    def of_packed(cls, frame: bytes) -> "_Batch":
        """Return one that is done already."""
        batch = cls(bytearray(), 0)
        batch.frames.append(frame)
        batch.done.open()
        return batch

    def hashed(self, unpadded: int, leaves: list[bytes] | None) -> "_Batch":
        """Hash the blocks for *leaves*, which are *unpadded* bytes without tar's padding."""
        self._unpadded, self.leaves = unpadded, leaves
        return self

    def pack(self, packing: "_Packing") -> None:
        try:
            if self._unpadded == _BATCH and self.buffer == _ZEROS:
                self.hashes, frames = packing.of_zeros()
            else:
                if self.leaves is not None:
                    self.hashes = _hashes(self._blocks(self._unpadded))
                frames = map(packing.compress, self._blocks(self._size))
            self.frames.extend(frames)
        except BaseException as error:  # belongs to who waits
            self.error = error
        self.done.open()

    def _blocks(self, size: int) -> list[memoryview]:
        view = memoryview(self.buffer)[:size]
        return [view[begin : begin + BLOCK_SIZE] for begin in range(0, size, BLOCK_SIZE)]


def _readable(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Yield them as far as they can be read."""
    with contextlib.suppress(OSError):
        yield from frames


class _Packing:
    """What one thread packs with."""

    def __init__(self, compress: Compressor) -> None:
        self.compress = compress
        self._zeros: tuple[tuple[bytes, ...], list[bytes]] | None = None

    def of_zeros(self) -> tuple[tuple[bytes, ...], Iterable[bytes]]:
        """Return the hashes and frames of two blocks of zeros, which are made once."""
        if self._zeros is None:
            block = memoryview(_ZEROS)[:BLOCK_SIZE]
            self._zeros = (block_hash(block),) * 2, [self.compress(block)] * 2
        return self._zeros


def _hashes(blocks: list[memoryview]) -> tuple[bytes, ...]:
    return block_hashes(*blocks) if len(blocks) == 2 else tuple(map(block_hash, blocks))  # noqa: PLR2004


def _pack_each(waiting: "SimpleQueue[_Batch | None]", packing: _Packing) -> None:
    while (batch := waiting.get()) is not None:
        batch.pack(packing)
