"""A file as bundles have it, in a file of its own, so that it need not be compressed again.

That holds the frames of its blocks, the length of each (32 bits, little-endian), and the
CRC-32 of all that. One that was cut off or damaged, as after a power failure, is not used.
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

_CHECK: Final = struct.Struct("<I")


@attrs.frozen(eq=False)
class PackedFile(AbstractContextManager["PackedFile"]):
    """A file of *size* bytes in frames of a block each. It is open until it is closed."""

    size: int
    sha256: str
    _file: io.FileIO
    _lengths: tuple[int, ...]

    @classmethod
    def read(cls, file: io.FileIO, size: int, sha256: str, codec: Codec) -> "PackedFile | None":
        """Return what a file holds, which it takes; None if that is damaged, or of another size.

        Raises OSError. Nothing is mapped: a disk that fails would end the process with SIGBUS.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(file)
            lengths = _lengths(file, size, codec)
            if lengths is None:
                return None
            stack.pop_all()
        return cls(size, sha256, file, lengths)

    def frames(self) -> Iterator[bytes]:
        """Yield the frames. Raises OSError."""
        return _frames(self._file, self._lengths)

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def _lengths(file: io.FileIO, size: int, codec: Codec) -> tuple[int, ...] | None:
    """Return those of the frames, once all was checked; None if anything is wrong."""
    table = struct.Struct(f"<{blocks_of(size)}I")
    begin = os.fstat(file.fileno()).st_size - table.size - _CHECK.size
    if begin < 0:
        return None
    rows = _read(file, table.size, begin)
    lengths = table.unpack(rows)
    if sum(lengths) != begin or not all(length in frame_lengths(codec) for length in lengths):
        return None
    crc, left = 0, size
    for frame in _frames(file, lengths):
        if codec.size_in(frame) != _padded(min(left, BLOCK_SIZE)):
            return None
        crc, left = isal_zlib.crc32(frame, crc), left - BLOCK_SIZE
    check = _read(file, _CHECK.size, begin + table.size)
    return lengths if _CHECK.pack(isal_zlib.crc32(rows, crc)) == check else None


def _padded(size: int) -> int:
    """Return the bytes that so many take in a tar."""
    return size + -size % tarfile.BLOCKSIZE


def _frames(file: io.FileIO, lengths: tuple[int, ...]) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield _read(file, length, at)
        at += length


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
    _lengths: list[int] = attrs.field(factory=list, init=False)
    _crc: int = attrs.field(default=0, init=False)
    _failed: bool = attrs.field(default=False, init=False)

    def check(self, data: memoryview) -> None:
        """Take the next bytes of the file itself, which may change while it is read."""
        self._digest.update(data)

    def write(self, frame: bytes) -> None:
        """Take the next one. What goes wrong costs the next dump time, not this one its bundle."""
        self._lengths.append(len(frame))
        self._append(frame)
        if self._is_complete:
            self._append(struct.pack(f"<{len(self._lengths)}I", *self._lengths))
            self._append(_CHECK.pack(self._crc))
            self._close()

    def _append(self, data: bytes) -> None:
        if self._failed:
            return
        self._crc = isal_zlib.crc32(data, self._crc)
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
        return len(self._lengths) == blocks_of(self.size)

    def end(self, directory: int) -> None:
        """Give the file its name if all of it is there, or remove it. Raises OSError."""
        if not self._is_complete:
            self._close()
        unchanged = self._digest.hexdigest() == self.sha256
        if unchanged and self._is_complete and not self._failed:
            os.rename(self._temporary, self._name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(self._temporary, dir_fd=directory)
