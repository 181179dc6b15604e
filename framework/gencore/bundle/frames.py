"""Compresses and hashes what a bundle is made of, on threads of its own, and writes it in order.

Blocks are packed two at a time, because two are hashed in the time of one. Of two that hold
nothing but zeros, such as stacks that were never used, hashes and frames are made once.
"""

import contextlib
import errno
import io
import os
from _queue import Empty, SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import BinaryIO, Final

from gencore._runtime.os_thread import Latch, NoThread, OsThread
from gencore._runtime.other_thread import OtherThread
from gencore.bundle.codecs import Compressor
from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.packed_file import Packer
from gencore.bundle.tree_hash import block_hash, block_hashes

__all__ = ["BATCH_SIZE", "Batch", "Frames"]

BATCH_SIZE: Final = 2 * BLOCK_SIZE
_WORKERS: Final = min(4, os.cpu_count() or 1)
_PENDING: Final = 6
"""Batches that may be on their way, of two blocks each: more than are packed at once, for the
moments in which no core comes, while a clone looks which pages there are. Each takes 5 MiB."""
_NAME: Final = "gencore-pack"
_ZEROS: Final = bytes(BATCH_SIZE)


class Frames:
    """Compresses batches of blocks, each block to a frame, and writes these in order.

    Our threads hash and compress, and another one writes, see docs/decisions/0038; the caller does
    that for which none can be started. isal leaves the processor's vector registers in a state in
    which all that follows in a thread is slower: whoever writes never calls it, nor does whoever
    reads the core, not even for a header. Half random cores took 8 % longer with that.
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
        self._waiting: SimpleQueue[Batch | None] = SimpleQueue()
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
        return self._free.pop() if self._free else bytearray(BATCH_SIZE)

    def add(self, data: bytes) -> None:
        """Write *data* as one frame."""
        self.add_batch(Batch(bytearray(data), len(data)))

    def add_batch(self, batch: "Batch") -> None:
        """Write *batch*, whose buffer is the caller's no longer."""
        self._start_thread()
        if self._threads:
            self._waiting.put(batch)
        else:
            batch.pack(self._packing)
        self._write_in_turn(batch)

    def add_compressed(self, frame: bytes) -> None:
        """Write a frame behind all that was added."""
        self._write_in_turn(Batch.of_packed(frame))

    def write_all(self) -> None:
        """Wait until everything is packed, and write it."""
        self._wait_until_pending(0)

    def close(self) -> None:
        """Write everything, and end the threads."""
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

    def _write_in_turn(self, batch: "Batch") -> None:
        write = partial(self._write_one, batch)
        self._pending.append(write if self._writer is None else self._writer.begin(write))
        self._wait_until_pending(_PENDING)

    def _wait_until_pending(self, count: int) -> None:
        while len(self._pending) > count:
            self._pending[0]()
            self._pending.popleft()

    def _write_one(self, batch: "Batch") -> None:
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
        if len(batch.buffer) == BATCH_SIZE:
            self._free.append(batch.buffer)


class Batch:
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
    def of_packed(cls, frame: bytes) -> "Batch":
        """Return one that is done already."""
        batch = cls(bytearray(), 0)
        batch.frames.append(frame)
        batch.done.open()
        return batch

    def hashed(self, unpadded: int, leaves: list[bytes] | None) -> "Batch":
        """Hash the blocks for *leaves*, which are *unpadded* bytes without tar's padding."""
        self._unpadded, self.leaves = unpadded, leaves
        return self

    def pack(self, packing: "_Packing") -> None:
        """Hash and compress its blocks; an error is then its own."""
        try:
            if self._unpadded == BATCH_SIZE and self.buffer == _ZEROS:
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


def _pack_each(waiting: "SimpleQueue[Batch | None]", packing: _Packing) -> None:
    while (batch := waiting.get()) is not None:
        batch.pack(packing)
