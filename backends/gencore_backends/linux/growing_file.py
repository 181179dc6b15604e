"""A core that is still being written to a file: read behind the writer, checked at the end.

Both the kernel and our own clone write a core from its first byte to its last. Everything below
the current size of the file can be read, so reading, hashing and compressing run while the rest is
written.
"""

import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Final

from gencore import CoreStream
from gencore.core_stream import CHUNK_SIZE
from gencore.output import Output, sync
from gencore_backends.linux.child import Child
from gencore_backends.linux.completeness import why_incomplete

__all__ = ["GrowingFile"]

_BETWEEN_SYNCS: Final = 0.05
_GLANCE: Final = 0.005
"""Seconds between two checks of a growing file. Writes are not announced."""


class GrowingFile(CoreStream):
    """The file *name* in *output*; *child* causes it to be written up to `size` bytes."""

    def __init__(self, output: Output, name: str, child: Child) -> None:
        self.file: str = name
        self._output = output
        self._child = child

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that the program headers promise."""

    @abstractmethod
    def _end(self) -> None:
        """Do what remains once the writer has ended; set `incomplete` if it did not finish."""

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes, waiting for those that are not written yet."""
        chunk = memoryview(bytearray(CHUNK_SIZE))
        done = 0
        with self._output.open(self.file) as core:
            while length := core.readinto(chunk[: self._await(done + CHUNK_SIZE) - done]):
                yield chunk[:length]
                done += length

    def wait(self) -> None:
        """Wait for the writer's end, and check what it has written."""
        self._write_back()
        self._end()
        self.missing = max(0, self.size - self._written())
        with self._output.open(self.file) as core:
            self.incomplete = why_incomplete(core, self.size, self.missing, self.incomplete)

    def _write_back(self) -> None:
        """Sync what is written so far, repeatedly, until the writer ends.

        A file that is not read is kept, and synced when it is published: the less is left to sync
        then, the faster.
        """
        with self._output.open(self.file) as core:
            while not self._child.ended(_BETWEEN_SYNCS):
                sync(core.fileno())

    def _await(self, end: int) -> int:
        """Wait until *end* bytes are written or no more will be; return how many of them are."""
        while (written := self._written()) < end and not self._child.ended(_GLANCE):
            pass
        return min(end, max(written, self._written()))

    def _written(self) -> int:
        return os.stat(self.file, dir_fd=self._output.fd, follow_symlinks=False).st_size
