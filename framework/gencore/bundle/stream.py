"""The decompressed stream of a bundle: gzip members, tar headers, bytes, checked when read."""

from typing import Any, BinaryIO, Final

from isal import isal_zlib

from gencore.bundle.contents import Member
from gencore.bundle.tar_header import read_header
from gencore.core_stream import CHUNK_SIZE
from gencore.errors import IntegrityError

__all__ = ["GzipStream", "check_header", "expect_end", "expect_zeros"]

_PLAIN: Final = b"\x1f\x8b\x08\x00"
"""Magic, deflate, no flags: a bundle's data has no extra field in which more could hide."""
_INPUT: Final = 32 << 10
"""Bytes that are decompressed from: at the end of a gzip member isal copies the rest of them."""
_GZIP: Final = 16 + 15
"""Of zlib's window bits: with a gzip header and trailer, which are checked."""


class GzipStream:
    """What is between two offsets of a file, decompressed: plain gzip members in a row.

    Raises `IntegrityError` for anything else, OSError if the file cannot be read.
    """

    def __init__(self, file: BinaryIO, offset: int, end: int) -> None:
        self._file = file
        self._place = offset
        """Where the compressed bytes behind `_input` are."""
        self._end = end
        self._input = b""
        self._member: Any = None
        """What decompresses the current gzip member: isal has no type for it."""

    def begins_member_at(self, offset: int) -> bool:
        """Return whether the next byte is the first one of the gzip member at that offset."""
        while self._member is not None:
            if self._decompress(1):  # not only the trailer was left
                return False
        return self._place - len(self._input) == offset

    def read_exactly(self, size: int) -> bytes:
        """Read *size* bytes."""
        data = bytearray()
        while len(data) < size:
            data += self.read_some(size - len(data))
        return bytes(data)

    def read_some(self, size: int) -> bytes:
        """Read at least one byte, at most *size*."""
        data = self.read_or_end(size)
        if not data:
            raise IntegrityError("the compressed data is truncated")
        return data

    def read_or_end(self, size: int) -> bytes:
        """Read at most *size* bytes; none at the end."""
        data = b""
        while not data and self._has_more():
            data = self._decompress(min(size, CHUNK_SIZE))
        return data

    def _has_more(self) -> bool:
        """Return whether a member is open or another one follows, having opened it."""
        if self._member is not None:
            return True
        while len(self._input) < len(_PLAIN) and self._fill():
            pass
        if self._input and not self._input.startswith(_PLAIN):
            raise IntegrityError("the compressed data is corrupt: invalid gzip header")
        if self._input:
            self._member = isal_zlib.decompressobj(_GZIP)
        return bool(self._input)

    def _decompress(self, size: int) -> bytes:
        over = not self._input and not self._fill()
        try:
            data: bytes = self._member.decompress(self._input, size)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal does not say that it is an exception
            raise IntegrityError(f"the compressed data is corrupt: {error}") from error
        if over and not data and not self._member.eof:
            raise IntegrityError("the compressed data is truncated")
        if self._member.eof:
            self._input, self._member = self._member.unused_data, None
        else:
            self._input = self._member.unconsumed_tail
        return data

    def _fill(self) -> bool:
        self._file.seek(self._place)
        more = self._file.read(min(_INPUT, self._end - self._place))
        self._input += more
        self._place += len(more)
        return bool(more)


def check_header(stream: GzipStream, top: str, member: Member) -> None:
    """Read a tar header, and raise `IntegrityError` unless it is that of *member*."""
    header = read_header(stream.read_exactly)
    if (header.name, header.size) != (f"{top}/{member.path}", member.size):
        raise IntegrityError(
            f"the table of contents says {member.path!r} of {member.size:,} bytes where the "
            f"archive has {header.name!r} of {header.size:,}"
        )


def expect_zeros(stream: GzipStream, size: int) -> None:
    """Read padding. Raises `IntegrityError` if something is in it."""
    while size:
        data = stream.read_some(size)
        size -= len(data)
        if any(data):
            raise IntegrityError("nonzero bytes in the archive's padding")


def expect_end(stream: GzipStream) -> None:
    """Raise `IntegrityError` unless it is all read."""
    if stream.read_or_end(1):
        raise IntegrityError("data after the end of the archive")
