"""Opens a bundle and single members of it. Nothing that it says is believed without a check."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from isal import igzip, isal_zlib

from gencore.bundle.contents import Member, read_contents
from gencore.bundle.seeking import LazySeeking
from gencore.core_stream import CHUNK_SIZE
from gencore.errors import IntegrityError

__all__ = ["BundleReader", "MemberFile", "check_header", "decompress", "read_or_end", "read_some"]

_LARGEST_HEADER: Final = 64 << 10
"""Bytes of a pax header that is read: a path has at most 4,096."""
LARGEST_MANIFEST: Final = 16 << 20
"""Bytes; the collector that writes it keeps to the same."""
_DEEPEST: Final = 100
"""Levels of a manifest; ours have about eight, and what annotations add."""
_DELETED: Final = " (deleted)"


class BundleReader:
    """An open bundle. Raises `IntegrityError` for whatever is not as it should be."""

    def __init__(self, path: Path | str) -> None:
        """Read its table of contents. Raises OSError if it cannot be opened."""
        self.path = Path(path)
        self._file = self.path.open("rb")
        try:
            self.top, self.members = read_contents(self._file)
            self._by_path = {member.path: member for member in self.members}
        except BaseException:
            self.close()
            raise

    def open(self, path: str) -> "MemberFile":
        """Open one member; only its part of the bundle is decompressed."""
        if path not in self._by_path:
            raise IntegrityError(f"{self.path}: there is no {path!r} in it")
        return MemberFile(self._file, self.top, self._by_path[path])

    def find(self, mapped: str) -> Member | None:
        """Return the member that the file mapped from the path *mapped* became, if it is there.

        The path may have the kernel's mark of a deleted file, with which it is packed only where
        another file has taken its place.
        """
        names = (name.lstrip("/") for name in (mapped, mapped.removesuffix(_DELETED)))
        return next((self._by_path[name] for name in names if name in self._by_path), None)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest. Its fields are anybody's: check the type of what you use."""
        with self.open("manifest.json") as file:
            return parse_manifest(file.read(LARGEST_MANIFEST + 1))

    def close(self) -> None:
        """Close the bundle; no member of it can be read any more."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bundle."""
        self.close()


def parse_manifest(data: bytes) -> dict[str, Any]:
    """Return what a manifest says. Raises `IntegrityError` unless it is a JSON object."""
    if len(data) > LARGEST_MANIFEST:
        raise IntegrityError(f"the manifest is larger than {LARGEST_MANIFEST >> 20} MiB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"the manifest is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise IntegrityError("the manifest is not a JSON object")
    if _is_deeper(found, _DEEPEST):
        raise IntegrityError(f"the manifest is nested more than {_DEEPEST} levels deep")
    return found


def _is_deeper(found: Any, levels: int) -> bool:
    """Whether JSON is nested so deeply that who writes it again may run out of stack."""
    level = [found]
    for _ in range(levels):
        values = (value.values() if isinstance(value, dict) else value for value in level)
        level = [below for row in values for below in row if isinstance(below, dict | list)]
    return bool(level)


class MemberFile(LazySeeking):
    """One member, to be read from its beginning; seeking back decompresses again."""

    def __init__(self, bundle: BinaryIO, top: str, member: Member) -> None:
        super().__init__(member.size)
        self._bundle = bundle
        self._top = top
        self._member = member
        self._start()

    def _start(self) -> None:
        self._bundle.seek(self._member.offset)
        self._gzip = decompress(self._bundle)
        check_header(self._gzip, self._top, self._member)
        self._position = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read *size* bytes, or to the end. Raises `IntegrityError`."""
        self._go()
        left = self.size - self._position
        size = left if size is None or size < 0 else min(size, left)
        data = _read_exactly(self._gzip, size)
        self._position = self._wanted = self._position + size
        return data

    def _go(self) -> None:
        if self._wanted < self._position:
            self._start()
        while self._position < self._wanted:
            self._position += len(read_some(self._gzip, self._wanted - self._position))


def check_header(stream: igzip.IGzipFile, top: str, member: Member) -> None:
    """Read a tar header, and raise `IntegrityError` unless it is that of *member*."""
    info = _read_header(stream)
    if info.type != tarfile.REGTYPE or info.sparse is not None:
        raise IntegrityError(f"{member.path!r} is not a regular file in the archive")
    if (info.name, info.size) != (f"{top}/{member.path}", member.size):
        raise IntegrityError(
            f"the table of contents says {member.path!r} of {member.size:,} bytes where the "
            f"archive has {info.name!r} of {info.size:,}"
        )


def _read_header(stream: igzip.IGzipFile) -> tarfile.TarInfo:
    """Read one tar header, with the pax header before it; never more than a few KiB."""
    blocks = _read_exactly(stream, tarfile.BLOCKSIZE)
    try:
        first = tarfile.TarInfo.frombuf(blocks, "utf-8", "surrogateescape")
        if first.type == tarfile.XHDTYPE:
            if first.size > _LARGEST_HEADER:
                raise IntegrityError(f"a header of {first.size:,} bytes")
            padded = first.size + -first.size % tarfile.BLOCKSIZE
            blocks += _read_exactly(stream, padded + tarfile.BLOCKSIZE)
        with tarfile.open(fileobj=io.BytesIO(blocks), mode="r:") as header:
            info = header.next()
    except (tarfile.TarError, ValueError) as error:
        raise IntegrityError(f"not a tar header: {error}") from error
    if info is None:
        raise IntegrityError("the archive ends before its table of contents does")
    return info


def _read_exactly(stream: igzip.IGzipFile, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += read_some(stream, size - len(data))
    return bytes(data)


def read_some(stream: igzip.IGzipFile, size: int) -> bytes:
    """Read at least one byte of at most *size*. Raises `IntegrityError` where there is none."""
    data = read_or_end(stream, size)
    if not data:
        raise IntegrityError("the compressed data ends early")
    return data


def read_or_end(stream: igzip.IGzipFile, size: int) -> bytes:
    """Read at most *size* bytes; nothing at the end. Raises `IntegrityError` for damage."""
    try:
        data: bytes = stream.read1(min(size, CHUNK_SIZE))
    except (EOFError, OSError, isal_zlib.error) as error:  # type: ignore[misc]  # isal does not say that it is an exception
        raise IntegrityError(f"the compressed data is damaged: {error}") from error
    return data


def decompress(file: BinaryIO) -> igzip.IGzipFile:
    """Begin to decompress where *file* stands."""
    return igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]  # isal types the instance only
