"""A file as bundles have it, in a file of its own, so that it need not be compressed again.

That holds the frames of its blocks, length and CRC-32 of each (32 bits, little-endian), and the
CRC-32 of these numbers. One that was cut off is not used; of one that is damaged, as after a power
failure, the frames before the damage are.
"""

import contextlib
import errno
import hashlib
import io
import os
import struct
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import attrs
from isal import isal_zlib

from gencore.bundle.codecs import Codec
from gencore.bundle.contents import BLOCK_SIZE, blocks_of, frame_lengths

__all__ = ["PackedFile", "Packer"]

_ROW: Final = struct.Struct("<II")
"""Length and CRC-32 of a frame."""
_CHECK: Final = struct.Struct("<I")


@attrs.frozen(eq=False)
class PackedFile(AbstractContextManager["PackedFile"]):
    """A file of *size* bytes in frames of a block each. It is open until it is closed."""

    size: int
    sha256: str
    _file: io.FileIO
    _codec: Codec
    _rows: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, file: io.FileIO, size: int, sha256: str, codec: Codec) -> "PackedFile | None":
        """Return what a file holds, which it takes; None if that is of another size, or cut off.

        Raises OSError. Nothing is mapped: a disk that fails would end the process with SIGBUS.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(file)
            rows = _rows(file, size, codec)
            if rows is None:
                return None
            stack.pop_all()
        return cls(size, sha256, file, codec, rows)

    def frames(self) -> Iterator[bytes]:
        """Yield the frames. Raises OSError, also for one that is damaged."""
        at, left = 0, self.size
        for length, crc in self._rows:
            frame = _read(self._file, length, at)
            in_it = self._codec.size_in(frame)
            if isal_zlib.crc32(frame) != crc or in_it != _padded(min(left, BLOCK_SIZE)):
                raise OSError(errno.EIO, "a packed library is damaged")
            yield frame
            at, left = at + length, left - BLOCK_SIZE

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def _rows(file: io.FileIO, size: int, codec: Codec) -> tuple[tuple[int, int], ...] | None:
    """Return the rows of the frames; None if anything is wrong with them."""
    table_size = blocks_of(size) * _ROW.size + _CHECK.size
    table = _read(file, table_size, os.fstat(file.fileno()).st_size - table_size)
    rows, check = table[: -_CHECK.size], table[-_CHECK.size :]
    if _CHECK.pack(isal_zlib.crc32(rows)) != check:
        return None
    found, possible = tuple(_ROW.iter_unpack(rows)), frame_lengths(codec)
    return found if all(length in possible for length, _ in found) else None


def _padded(size: int) -> int:
    """Return the bytes that so many take in a tar."""
    return size + -size % tarfile.BLOCKSIZE


def _read(file: io.FileIO, length: int, at: int) -> bytes:
    data = os.pread(file.fileno(), length, at)
    if len(data) != length:
        raise OSError(errno.EIO, "a packed library was cut off while it was read")
    return data


@attrs.define(eq=False)
class Packer:
    """Takes the frames of one file while a bundle is written."""

    size: int
    sha256: str
    _fd: int
    _temporary: str
    _name: str
    _digest: Any = attrs.field(factory=hashlib.sha256, init=False)
    _rows: list[bytes] = attrs.field(factory=list, init=False)
    _failed: bool = attrs.field(default=False, init=False)

    def check(self, data: memoryview) -> None:
        """Take the next bytes of the file itself, which may change while it is read."""
        self._digest.update(data)

    def write(self, frame: bytes) -> None:
        """Take the next one. What goes wrong costs the next dump time, not this one its bundle."""
        self._rows.append(_ROW.pack(len(frame), isal_zlib.crc32(frame)))
        self._append(frame)
        if self._is_complete:
            rows = b"".join(self._rows)
            self._append(rows + _CHECK.pack(isal_zlib.crc32(rows)))
            self._close()

    def _append(self, data: bytes) -> None:
        if self._failed:
            return
        try:
            self._failed = os.write(self._fd, data) != len(data)
        except OSError:
            self._failed = True
        if self._failed:  # the disk is full, which the bundle may need to be on
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)

    def _close(self) -> None:
        """Close the file; some file systems say only then that it was not written."""
        try:
            os.close(self._fd)
        except OSError:
            self._failed = True

    @property
    def _is_complete(self) -> bool:
        return len(self._rows) == blocks_of(self.size)

    def end(self, directory: int) -> None:
        """Give the file its name if all of it is there, or remove it. Raises OSError."""
        if not self._is_complete:
            self._close()
        unchanged = self._digest.hexdigest() == self.sha256
        if unchanged and self._is_complete and not self._failed:
            os.rename(self._temporary, self._name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(self._temporary, dir_fd=directory)
