"""The decompressed stream of a bundle: frames, tar headers, bytes, checked when read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, pairwise
from typing import Any, BinaryIO, Final

import attrs
from isal import isal_zlib

from gencore._runtime.other_thread import WORTH_HANDING_OVER, OtherThread
from gencore.bundle.codecs import PLAIN_GZIP, WITH_GZIP_HEADER, Codec, corrupt
from gencore.bundle.contents import BLOCK_SIZE, Contents, Member
from gencore.bundle.tar_header import BLOCK, LARGEST_HEADER, read_header
from gencore.bundle.tree_hash import block_hash
from gencore.core_stream import CHUNK_SIZE
from gencore.errors import IntegrityError

__all__ = [
    "Stream",
    "check_header",
    "expect_end",
    "expect_zeros",
    "stream_of_archive",
    "stream_of_member",
]

_INPUT: Final = 32 << 10
"""Bytes that are decompressed from: at the end of a gzip member isal copies the rest of them."""


class Stream(ABC):
    """Decompressed bytes, in the order of the archive.

    Raises `IntegrityError` for anything but plain frames in a row, and OSError.
    """

    @abstractmethod
    def begins_member_at(self, offset: int) -> bool:
        """Return whether the next byte is the first one of the frame at that offset."""

    @abstractmethod
    def read_or_end(self, size: int) -> bytes:
        """Read at most *size* bytes; none at the end."""

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


def stream_of_archive(file: BinaryIO, contents: Contents, *, hashed: bool = True) -> Stream:
    """Return the whole archive, from its first byte to its last.

    Unless *hashed*, only the check sums of the codec are compared.
    """
    if not contents.has_blocks:
        return _SequentialStream(file, 0, contents.end)
    at = contents.members[-1].places[-1] if contents.members else 0
    end = _Piece(at, contents.end - at, 2 * BLOCK)
    pieces = chain(*(_pieces(member, hashed=hashed) for member in contents.members), [end])
    return _BlockStream(file, contents.codec, pieces, OtherThread("gencore-ahead"))


def stream_of_member(file: BinaryIO, contents: Contents, member: Member, block: int = 0) -> Stream:
    """Return what begins with a block of *member*; its header is checked first."""
    if member.lengths is None:
        stream: Stream = _SequentialStream(file, member.offset, contents.end)
        check_header(stream, contents.top, member)
        return stream
    header, *blocks = _pieces(member)
    check_header(_BlockStream(file, contents.codec, [header]), contents.top, member)
    return _BlockStream(file, contents.codec, blocks[block:])


@attrs.frozen
class _Piece:
    """One frame, as the table of contents has it."""

    offset: int
    length: int
    size: int | None
    """Bytes that it holds, without padding; None for a header."""
    leaf: bytes | None = None


def _pieces(member: Member, *, hashed: bool = True) -> Iterator[_Piece]:
    """Yield the header and each block."""
    leaves = member.leaves if hashed else None
    header, *blocks = pairwise(member.places)
    yield _Piece(header[0], header[1] - header[0], None)
    for index, (begin, end) in enumerate(blocks):
        size = min(BLOCK_SIZE, member.size - index * BLOCK_SIZE)
        yield _Piece(begin, end - begin, size, None if leaves is None else leaves[index])


class _BlockStream(Stream):
    """Frames of which the table of contents has the place, size and hash of each."""

    def __init__(
        self,
        file: BinaryIO,
        codec: Codec,
        pieces: Iterable[_Piece],
        ahead: OtherThread | None = None,
    ) -> None:
        self._file = file
        self._codec = codec
        self._pieces = iter(pieces)
        self._ahead = ahead
        self._coming: _Coming | None = None
        """What is being decompressed already."""
        self._place = 0
        """Where the next frame begins."""
        self._data = b""
        self._position = 0

    def begins_member_at(self, offset: int) -> bool:
        return self._position == len(self._data) and self._place == offset

    def read_or_end(self, size: int) -> bytes:
        if self._position == len(self._data):
            self._data = self._load()
            self._position = 0
        data = self._data[self._position : self._position + size]
        self._position += len(data)
        return data

    def _begin(self) -> "_Coming | None":
        """Read the next frame, and begin to decompress it; None at the end."""
        piece = next(self._pieces, None)
        if piece is None:
            return None
        self._file.seek(piece.offset)
        content = partial(_decompress, self._codec, self._file.read(piece.length), piece)
        if self._ahead is None or (piece.size or 0) < WORTH_HANDING_OVER:
            return piece, content
        return piece, self._ahead.begin(content)

    def _load(self) -> bytes:
        coming, self._coming = self._coming or self._begin(), None
        if coming is None:
            return b""
        piece, content = coming
        data = content()
        if self._ahead is not None:
            self._coming = self._begin()
        self._place = piece.offset + piece.length
        if piece.leaf is not None and block_hash(memoryview(data)[: piece.size]) != piece.leaf:
            raise IntegrityError(f"the block at {piece.offset:,} does not match its hash")
        return data


_Coming = tuple[_Piece, Callable[[], bytes]]
"""A frame, and what returns its content."""


def _decompress(codec: Codec, frame: bytes, piece: _Piece) -> bytes:
    """Decompress what must be one frame of the length and size that the table says."""
    padded = LARGEST_HEADER if piece.size is None else piece.size + -piece.size % BLOCK
    content = codec.decompress(frame, padded + 1)
    if content is None:
        raise IntegrityError(f"what is compressed at {piece.offset:,} is not of the length stated")
    if piece.size is not None and len(content) != padded:
        raise IntegrityError(f"what is compressed at {piece.offset:,} is not of the size stated")
    return content


class _SequentialStream(Stream):
    """What is between two offsets of a file, whose gzip members reading it finds: version 1."""

    def __init__(self, file: BinaryIO, offset: int, end: int) -> None:
        self._file = file
        self._place = offset
        """Where the compressed bytes behind `_input` are."""
        self._end = end
        self._input = b""
        self._member: Any = None
        """What decompresses the current gzip member: isal has no type for it."""

    def begins_member_at(self, offset: int) -> bool:
        while self._member is not None:
            if self._decompress(1):  # not only the trailer was left
                return False
        return self._place - len(self._input) == offset

    def read_or_end(self, size: int) -> bytes:
        data = b""
        while not data and self._has_more():
            data = self._decompress(min(size, CHUNK_SIZE))
        return data

    def _has_more(self) -> bool:
        """Return whether a member is open or another one follows, having opened it."""
        if self._member is not None:
            return True
        while len(self._input) < len(PLAIN_GZIP) and self._fill():
            pass
        if self._input and not self._input.startswith(PLAIN_GZIP):
            raise corrupt("invalid gzip header")
        if self._input:
            self._member = isal_zlib.decompressobj(WITH_GZIP_HEADER)
        return bool(self._input)

    def _decompress(self, size: int) -> bytes:
        over = not self._input and not self._fill()
        try:
            data: bytes = self._member.decompress(self._input, size)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal does not say that it is an exception
            raise corrupt(str(error)) from error
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


def check_header(stream: Stream, top: str, member: Member) -> None:
    """Read a tar header, and raise `IntegrityError` unless it is that of *member*."""
    header = read_header(stream.read_exactly)
    if (header.name, header.size) != (f"{top}/{member.path}", member.size):
        raise IntegrityError(
            f"the table of contents says {member.path!r} of {member.size:,} bytes where the "
            f"archive has {header.name!r} of {header.size:,}"
        )
    if member.lengths is not None and not stream.begins_member_at(member.places[1]):
        raise IntegrityError(f"bytes behind the tar header of {member.path!r}")


def expect_zeros(stream: Stream, size: int) -> None:
    """Read padding. Raises `IntegrityError` if something is in it."""
    while size:
        data = stream.read_some(size)
        size -= len(data)
        if any(data):
            raise IntegrityError("nonzero bytes in the archive's padding")


def expect_end(stream: Stream) -> None:
    """Raise `IntegrityError` unless it is all read."""
    if stream.read_or_end(1):
        raise IntegrityError("data after the end of the archive")
