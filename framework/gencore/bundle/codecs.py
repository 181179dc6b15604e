"""The codecs that a bundle may be compressed with: gzip and zstd.

A frame is what a codec decompresses by itself: a gzip member (RFC 1952, 2.2), or a zstd frame (RFC
8878, 3.1). Whatever differs between the codecs is here, and a new one is a class and its object in
`CODECS`: the rest of the format does not know which one it has. The libraries are imported on
first use, by `Codec.load` or whatever needs them.
"""

import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import ClassVar, Final

from gencore.bundle.zstd_library import zstd_library
from gencore.errors import IntegrityError

__all__ = [
    "CODECS",
    "GZIP",
    "PLAIN_GZIP",
    "WITH_GZIP_HEADER",
    "ZSTD",
    "Codec",
    "Compressor",
    "codec_of",
    "corrupt",
]

PLAIN_GZIP: Final = b"\x1f\x8b\x08\x00"
"""Magic, deflate, no flags: a bundle's data has no extra field in which more could hide."""
WITH_GZIP_HEADER: Final = 16 + 15
"""Of zlib's window bits: with a gzip header and trailer, which are checked."""
Compressor = Callable[[bytes | bytearray | memoryview], bytes]


class Codec(ABC):
    """How frames are made and read, and how readers are made to skip the table of contents."""

    name: ClassVar[str]
    """As the manifest has it."""
    extension: ClassVar[str]
    """What follows the name of a bundle, without its dot."""
    magic: ClassVar[bytes]
    """What such a bundle begins with."""
    level: ClassVar[int]
    """How hard it compresses if nobody says otherwise."""
    versions: ClassVar[tuple[int, ...]]
    """Of the table of contents, that there are with it."""
    smallest_frame: ClassVar[int]
    """Bytes of any frame, at least."""
    smallest_block: ClassVar[int]
    """Bytes of a frame that holds 1 MiB, at least."""
    largest_piece: ClassVar[int]
    """Bytes that one call of `hide` takes, at most."""
    _before: ClassVar[int]
    """Bytes that `hide` puts before the value."""
    _after: ClassVar[bytes] = b""

    @property
    def overhead(self) -> int:
        """Bytes that `hide` adds."""
        return self._before + len(self._after)

    @abstractmethod
    def load(self) -> None:
        """Import the library. Raises `UsageError` if it is missing."""

    @abstractmethod
    def compressor(self, level: int) -> Compressor:
        """Return what makes a frame of bytes, for the use of one thread."""

    @abstractmethod
    def decompress(self, frame: bytes, most: int) -> bytes | None:
        """Return what is in a frame, cut off behind *most* bytes; None unless it is exactly one.

        Raises `IntegrityError` for damage, and for a header in which there is more than gencore's
        own have.
        """

    @abstractmethod
    def open(self, path: Path) -> BufferedIOBase:
        """Open a file that anybody has compressed, to be read as what is in it."""

    @abstractmethod
    def size_in(self, frame: bytes) -> int | None:
        """Return how many bytes a frame says it holds; None if it does not say."""

    @abstractmethod
    def hide(self, name: bytes, value: bytes) -> bytes:
        """Return what readers take for no data, with a name of two bytes and a value in it."""

    def find(self, name: bytes, hidden: bytes) -> bytes | None:
        """Return the value that `hide` has put there under that name; None for anything else."""
        value = hidden[self._before : len(hidden) - len(self._after)]
        return value if hidden == self.hide(name, value) else None


class _Gzip(Codec):
    """Members of isal; values are in the extra field of empty ones (RFC 1952, 2.3.1.1)."""

    name = "gzip"
    extension = "tar.gz"
    magic = b"\x1f\x8b"
    level = 2  # isal's: measured as the fastest of 0 to 3 on real cores, at the same size as 1, 3
    versions = (1, 2)
    smallest_frame = 10 + 2 + 8  # header, an empty final block, check sum and length
    smallest_block = (1 << 20) // 1032  # deflate's highest ratio
    largest_piece = 0xFFFF - 4
    _header: Final = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
    """Magic, deflate, FEXTRA, no time, no flags, unknown system."""
    _field: Final = struct.Struct("<H2sH")
    """XLEN; the subfield's name, and its length."""
    _before = len(_header) + _field.size
    _after = b"\x03\x00" + bytes(8)
    """An empty final block, and the check sum and length of nothing."""

    def load(self) -> None:
        from gencore.bundle import gzip_member  # noqa: F401 - for later

    def compressor(self, level: int) -> Compressor:
        from gencore.bundle.gzip_member import gzip_member

        return partial(gzip_member, level=level)

    def decompress(self, frame: bytes, most: int) -> bytes | None:
        from isal import isal_zlib

        decompressor = isal_zlib.decompressobj(WITH_GZIP_HEADER)
        try:
            content: bytes = decompressor.decompress(frame, most)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal does not say that it is an exception
            raise corrupt(str(error)) from error
        if not frame.startswith(PLAIN_GZIP):
            raise corrupt("invalid gzip header")
        return content if decompressor.eof and not decompressor.unused_data else None

    def open(self, path: Path) -> BufferedIOBase:
        from isal import igzip

        return igzip.IGzipFile(path, "rb")  # type: ignore[no-untyped-call]  # isal has no types

    def size_in(self, frame: bytes) -> int | None:
        return int.from_bytes(frame[-4:], "little")  # RFC 1952, ISIZE

    def hide(self, name: bytes, value: bytes) -> bytes:
        field = self._field.pack(len(value) + 4, name, len(value))
        return self._header + field + value + self._after


class _Zstd(Codec):
    """Frames with their size and a check sum; values are in skippable frames (RFC 8878, 3.1.2)."""

    name = "zstd"
    extension = "tar.zst"
    magic = b"\x28\xb5\x2f\xfd"
    level = 1  # measured by tests/benchmarks/codecs.py: a tenth smaller than -1, as fast
    versions = (2,)
    smallest_frame = 4 + 1 + 1 + 3 + 4  # magic, descriptor, size, an empty block, check
    smallest_block = 4 + 1 + 4 + 8 * 4 + 4  # magic, descriptor, size, 8 runs of a byte, check
    largest_piece = 0xFFFF_FFFF - 2
    _plain: Final = re.compile(rb"\x28\xb5\x2f\xfd[\x24\x44\x64\x84\xa4\xc4\xe4]")
    """The magic, and descriptors with a size and a check sum, and no dictionary or spare bit."""
    _largest_window: Final = 23
    """Logarithm of the bytes that decompressing may keep: 8 MiB, as RFC 8878 (3.1.1.1.2) asks."""
    _largest_foreign_window: Final = 27
    """The same for what another program has compressed: what that of zstd reads by default."""
    _header: Final = struct.Struct("<II2s")
    """Magic, and the length of what follows; the value's name."""
    _skippable: Final = 0x184D2A57
    _before = _header.size

    def load(self) -> None:
        zstd_library()

    def compressor(self, level: int) -> Compressor:
        zstd = zstd_library()
        parameter = zstd.CompressionParameter
        options = {parameter.compression_level: level, parameter.checksum_flag: 1}
        compressor = zstd.ZstdCompressor(options=options)
        return partial(compressor.compress, mode=compressor.FLUSH_FRAME)

    def decompress(self, frame: bytes, most: int) -> bytes | None:
        zstd = zstd_library()
        options = {zstd.DecompressionParameter.window_log_max: self._largest_window}
        decompressor = zstd.ZstdDecompressor(options=options)
        if not self._plain.match(frame):
            raise corrupt("invalid zstd header")
        try:
            content: bytes = decompressor.decompress(frame, most)
        except zstd.ZstdError as error:
            raise corrupt(str(error)) from error
        return content if decompressor.eof and not decompressor.unused_data else None

    def open(self, path: Path) -> BufferedIOBase:
        zstd = zstd_library()
        options = {zstd.DecompressionParameter.window_log_max: self._largest_foreign_window}
        file: BufferedIOBase = zstd.ZstdFile(path, "rb", options=options)
        return file

    def size_in(self, frame: bytes) -> int | None:
        zstd = zstd_library()
        with suppress(zstd.ZstdError):
            size: int | None = zstd.get_frame_info(frame).decompressed_size
            return size
        return None

    def hide(self, name: bytes, value: bytes) -> bytes:
        return self._header.pack(self._skippable, len(name) + len(value), name) + value


def corrupt(why: str) -> IntegrityError:
    """Return the error for compressed bytes that no packer has made."""
    return IntegrityError(f"the compressed data is corrupt: {why}")


GZIP: Final[Codec] = _Gzip()
ZSTD: Final[Codec] = _Zstd()
CODECS: Final = (GZIP, ZSTD)


def codec_of(beginning: bytes) -> Codec | None:
    """Return that of a bundle which begins so; None if it is none."""
    return next((codec for codec in CODECS if beginning.startswith(codec.magic)), None)
