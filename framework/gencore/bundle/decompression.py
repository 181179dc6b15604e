"""A compressed core as a file that can be read at any place; nothing is written to the disk."""

from pathlib import Path
from typing import Final

from gencore.bundle.codecs import CODECS, codec_of
from gencore.bundle.seeking import LazySeeking
from gencore.errors import IntegrityError

__all__ = ["DecompressedFile", "measure", "peek"]

_PIECE: Final = 1 << 20
_LARGEST: Final = 1 << 42
"""Bytes of a decompressed core: a few bytes of zstd may stand for any number."""


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
        codec = codec_of(beginning)
        if codec is None:
            names = " or ".join(known.name for known in CODECS)
            raise IntegrityError(f"{path}: not compressed with {names}")
        self._path, self._codec = path, codec
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
        self._stream = self._codec.open(self._path)
        self._position = 0

    def _next(self, most: int) -> bytes:
        try:
            piece = self._stream.read(min(most, _PIECE))
        except EOFError:  # truncated
            return b""
        except Exception as error:  # each library has errors of its own
            raise IntegrityError(f"{self._path}: cannot be decompressed: {error}") from error
        self._position += len(piece)
        return piece
