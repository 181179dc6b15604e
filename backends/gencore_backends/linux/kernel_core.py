"""A core that the kernel is still writing: read behind the writer, checked once it has ended.

The kernel writes a core from its first byte to its last (``fs/coredump.c``): headers and notes
first, then the memory. Whatever lies below the size of the file is there to be read, which lets
reading, hashing and compressing run while the kernel writes the rest.
"""

import os
from collections.abc import Iterator
from typing import Final

from gencore import CoreFailed, CoreStream
from gencore.backend import CHUNK_SIZE
from gencore.corefile import CoreFile
from gencore.output import Output
from gencore_backends.linux.child import Child
from gencore_backends.linux.notes import speak_of_parent

__all__ = ["KernelCore"]

_BETWEEN_SYNCS: Final = 0.05
_GLANCE: Final = 0.005
"""Seconds between two looks at a file that grows. The kernel does not announce its writes."""


class KernelCore(CoreStream):
    """The file *name* in *output*, written by *child*'s death; made to speak of thread *tid*."""

    def __init__(self, output: Output, name: str, child: Child, tid: int) -> None:
        self.file: str = name
        self._output = output
        self._child = child
        self._await_notes()
        with CoreFile(output.path / name) as core:
            self._promised = core.promised_size
            self._flaw = core.flaw
            fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=output.fd)
            try:
                speak_of_parent(core, fd, tid)
            finally:
                os.close(fd)

    @property
    def size(self) -> int:
        """Bytes that the program headers promise."""
        return self._promised

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes, waiting for those that are not written yet."""
        chunk = memoryview(bytearray(CHUNK_SIZE))
        done = 0
        with self._output.open(self.file) as core:
            while length := core.readinto(chunk[: self._await(done + CHUNK_SIZE) - done]):
                yield chunk[:length]
                done += length

    def wait(self) -> None:
        """Wait for the kernel's end."""
        self._write_back()
        self._child.wait_for_core()
        self.missing = max(0, self._promised - self._written())
        if self.missing:
            there = self._promised - self.missing
            self.incomplete = f"truncated: {there:,} of {self._promised:,} bytes"
        else:
            self.incomplete = self._flaw

    def _write_back(self) -> None:
        """Send to the disk what is written so far, over and over until the kernel ends.

        The file is kept if it was not read, and synced when it is published: that goes faster
        the less there is left to do.
        """
        with self._output.open(self.file) as core:
            while not self._child.ended(_BETWEEN_SYNCS):
                os.fdatasync(core.fileno())

    def _await_notes(self) -> None:
        """Wait until everything before the memory is written."""
        need = os.sysconf("SC_PAGE_SIZE")
        while self._await(need) >= need:
            with CoreFile(self._output.path / self.file) as core:
                if need >= core.end_of_notes:
                    return
                need = core.end_of_notes
        self._child.wait_for_core()
        raise CoreFailed("kernel-dump", detail=f"only {self._written():,} bytes were written")

    def _await(self, end: int) -> int:
        """Wait until *end* bytes are written or no more will be; return how many of them are."""
        while (written := self._written()) < end and not self._child.ended(_GLANCE):
            pass
        return min(end, max(written, self._written()))

    def _written(self) -> int:
        return os.stat(self.file, dir_fd=self._output.fd, follow_symlinks=False).st_size
