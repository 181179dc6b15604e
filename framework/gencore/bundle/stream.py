"""The decompressed stream of a bundle: tar headers and bytes, checked as they are read."""

import io
import tarfile
from typing import BinaryIO, Final

from isal import igzip, isal_zlib

from gencore.bundle.contents import Member
from gencore.core_stream import CHUNK_SIZE
from gencore.errors import IntegrityError

__all__ = ["check_header", "decompress", "read_exactly", "read_or_end", "read_some"]

_LARGEST_HEADER: Final = 64 << 10
"""Bytes of a pax header, at most: a path has at most 4,096."""


def check_header(stream: igzip.IGzipFile, top: str, member: Member) -> None:
    """Read a tar header, and raise `IntegrityError` unless it is that of *member*."""
    info = _read_header(stream)
    if info.type != tarfile.REGTYPE or info.sparse is not None:
        raise IntegrityError(f"{member.path!r} is not a regular file")
    if (info.name, info.size) != (f"{top}/{member.path}", member.size):
        raise IntegrityError(
            f"the table of contents says {member.path!r} of {member.size:,} bytes where the "
            f"archive has {info.name!r} of {info.size:,}"
        )


def _read_header(stream: igzip.IGzipFile) -> tarfile.TarInfo:
    """Read one tar header, with the pax header before it; never more than a few KiB."""
    blocks = read_exactly(stream, tarfile.BLOCKSIZE)
    try:
        first = tarfile.TarInfo.frombuf(blocks, "utf-8", "surrogateescape")
        if first.type == tarfile.XHDTYPE:
            if first.size > _LARGEST_HEADER:
                raise IntegrityError(
                    f"pax header of {first.size:,} bytes; the limit is {_LARGEST_HEADER:,}"
                )
            padded = first.size + -first.size % tarfile.BLOCKSIZE
            blocks += read_exactly(stream, padded + tarfile.BLOCKSIZE)
        with tarfile.open(fileobj=io.BytesIO(blocks), mode="r:") as header:
            info = header.next()
    except (tarfile.TarError, ValueError) as error:
        raise IntegrityError(f"invalid tar header: {error}") from error
    if info is None:
        raise IntegrityError("the archive ends before the last member of its table of contents")
    return info


def read_exactly(stream: igzip.IGzipFile, size: int) -> bytes:
    """Read *size* bytes. Raises `IntegrityError` if there are fewer."""
    data = bytearray()
    while len(data) < size:
        data += read_some(stream, size - len(data))
    return bytes(data)


def read_some(stream: igzip.IGzipFile, size: int) -> bytes:
    """Read at least one byte, at most *size*. Raises `IntegrityError` at the end."""
    data = read_or_end(stream, size)
    if not data:
        raise IntegrityError("the compressed data is truncated")
    return data


def read_or_end(stream: igzip.IGzipFile, size: int) -> bytes:
    """Read at most *size* bytes; none at the end. Raises `IntegrityError` for damage."""
    try:
        data: bytes = stream.read1(min(size, CHUNK_SIZE))
    except (EOFError, OSError, isal_zlib.error) as error:  # type: ignore[misc]  # isal does not say that it is an exception
        raise IntegrityError(f"the compressed data is corrupt: {error}") from error
    return data


def decompress(file: BinaryIO) -> igzip.IGzipFile:
    """Begin to decompress where *file* stands."""
    return igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]  # isal types the instance only
