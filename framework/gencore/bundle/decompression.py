"""A compressed core as a file that can be read at any place; nothing is written to the disk."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from isal import igzip

from gencore.bundle.codecs import GZIP, ZSTD
from gencore.bundle.seeking import LazySeeking
from gencore.bundle.zstd_library import zstd_library
from gencore.errors import IntegrityError

__all__ = ["DecompressedFile", "is_compressed", "measure", "peek"]

_PIECE: Final = 1 << 20
_LARGEST: Final = 1 << 42
"""Bytes of a decompressed core: a few bytes of zstd may stand for any number."""
_LARGEST_WINDOW: Final = 27
"""Logarithm of the bytes that decompressing zstd may keep, as by default of its own program."""


def _open_gzip(path: Path) -> Any:
    return igzip.IGzipFile(path, "rb")  # type: ignore[no-untyped-call]  # isal has no types


def _open_zstd(path: Path) -> Any:
    zstd = zstd_library()
    options = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}
    return zstd.ZstdFile(path, "rb", options=options)


_FORMATS: Final[Mapping[bytes, Callable[[Path], Any]]] = {
    GZIP.magic: _open_gzip,
    ZSTD.magic: _open_zstd,
}
"""By what a file begins with."""


def _format_of(beginning: bytes) -> Callable[[Path], Any] | None:
    return next(
        (to_open for magic, to_open in _FORMATS.items() if beginning.startswith(magic)), None
    )


def is_compressed(beginning: bytes) -> bool:
    """Return whether a file that begins so is compressed with gzip or zstd."""
    return _format_of(beginning) is not None


def peek(path: Path, beginning: bytes, size: int) -> bytes:
    """Return the first bytes of what a compressed file has in it; see `DecompressedFile`."""
    with DecompressedFile(path, beginning) as file:
        return file.read(size)


def measure(path: Path, beginning: bytes) -> int:
    """Decompress a file once, and return the bytes that it has in it; see `DecompressedFile`."""
    with DecompressedFile(path, beginning) as file:
        while file.read(_PIECE):
            pass
        if file.tell() >= _LARGEST:
            raise IntegrityError(f"{path}: more than {_LARGEST:,} bytes, decompressed")
        return file.tell()


class DecompressedFile(LazySeeking):
    """The content of a compressed file; seeking back decompresses it again.

    One that is truncated ends where decompressing does. Raises `IntegrityError`, `UsageError` if a
    library is missing, and OSError.
    """

    def __init__(self, path: Path, beginning: bytes, size: int = _LARGEST) -> None:
        """Open it; *beginning* is that of the compressed file, *size* what `measure` returned."""
        super().__init__(size)
        to_open = _format_of(beginning)
        if to_open is None:
            raise IntegrityError(f"{path}: not compressed with gzip or zstd")
        self._path, self._open = path, to_open
        self._start()

    def read(self, size: int | None = -1) -> bytes:
        """Read *size* bytes, or to the end. Raises `IntegrityError`."""
        end = self.size if size is None or size < 0 else min(self.size, self._wanted + size)
        if self._wanted < self._position:
            self._stream.close()
            self._start()
        while self._position < self._wanted and self._next(self._wanted - self._position):
            pass
        pieces = []
        while self._position < end and (piece := self._next(end - self._position)):
            pieces.append(piece)
        self._wanted = self._position
        return b"".join(pieces)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()

    def _start(self) -> None:
        self._stream = self._open(self._path)
        self._position = 0

    def _next(self, most: int) -> bytes:
        try:
            piece: bytes = self._stream.read(min(most, _PIECE))
        except EOFError:  # truncated
            return b""
        except Exception as error:  # each library has errors of its own
            raise IntegrityError(f"{self._path}: cannot be decompressed: {error}") from error
        self._position += len(piece)
        return piece
