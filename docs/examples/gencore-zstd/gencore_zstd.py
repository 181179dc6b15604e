"""Compresses artefacts with Zstandard (RFC 8878), for example cores that are not packed."""

from typing import Annotated, BinaryIO

import zstandard

from gencore import Filter, Range
from gencore.filter import ByteSink


class Zstd(Filter):
    """Makes a Zstandard frame of each artefact, with a checksum.

    Args:
        level: 1 is the fastest, 19 compresses best; above 5 a core takes longer than it saves.
    """

    name = "zstd"
    api_version = (1, 1)
    suffix = ".zst"

    def __init__(self, *, level: Annotated[int, Range(1, 19)] = 3) -> None:
        self._level = level

    def open(self, writer: BinaryIO) -> ByteSink:
        """Begin a frame. Each has a compressor of its own: artefacts are made side by side."""
        compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        return compressor.stream_writer(writer, closefd=False)
