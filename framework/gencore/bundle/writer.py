"""Writes a bundle.

The file is a POSIX (pax) tar in a series of independent frames, such as gzip members, so that
blocks are compressed in parallel, each can be read alone, and any ``tar xf`` opens it. Every
header of the tar is a frame, and so is every block of a file; `contents` records them.
"""

import contextlib
import io
import tarfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import BinaryIO

import attrs

from gencore.bundle.codecs import GZIP, Codec
from gencore.bundle.contents import BLOCK_SIZE, Member, blocks_of, check_path, encode
from gencore.bundle.frames import BATCH_SIZE, Batch, Frames
from gencore.bundle.packed_file import PackedFile, Packer
from gencore.bundle.places import Places
from gencore.bundle.tree_hash import root_hash

__all__ = ["BundleWriter"]


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
        self._frames = Frames(file, partial(codec.compressor, level), bound=bound)
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
            part = data[: BATCH_SIZE - self._filled]
            if part.obj is not buffer:
                memoryview(buffer)[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == BATCH_SIZE:
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
        batch = Batch(buffer, padded, self._file_now.packer)
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


def _readable(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Yield them as far as they can be read."""
    with contextlib.suppress(OSError):
        yield from frames
