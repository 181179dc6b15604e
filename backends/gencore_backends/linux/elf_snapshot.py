"""A clone that writes its own core, to a pipe or a file, and that core while it is written."""

import fcntl
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from gencore import CoreStream
from gencore.core_stream import CHUNK_SIZE
from gencore.output import Output
from gencore.runtime import ignored
from gencore_backends.linux import _native
from gencore_backends.linux.child import Child
from gencore_backends.linux.completeness import why_incomplete
from gencore_backends.linux.growing_file import GrowingFile
from gencore_backends.linux.snapshot import LinuxSnapshot, Origin

__all__ = ["FileSnapshot", "PipeSnapshot"]

_CORE: Final = "core"
_PIPE_SIZE: Final = 1 << 20
"""Bytes, as many as an unprivileged user may have, see pipe(7), /proc/sys/fs/pipe-max-size."""


Take = Callable[[int, "list[_native.Snapshot]"], None]
"""Makes a clone that writes its core to a descriptor, and puts it into a list."""


class FileSnapshot(LinuxSnapshot):
    """A clone that writes a file in *output*. Raises `CoreFailed`."""

    def __init__(self, take: Take, output: Output, origin: Origin | None = None) -> None:
        core_fd = output.new_file(_CORE)
        try:
            super().__init__(partial(take, core_fd), origin)
        finally:
            os.close(core_fd)
        self._output = output

    def core(self) -> CoreStream:
        """Wait for the core's size, which the child knows before it writes anything."""
        size, _ = self._child.promised_sizes()
        return _FileCore(self._output, self._child, size)

    @property
    def written(self) -> int:
        """Bytes on disk."""
        return os.stat(_CORE, dir_fd=self._output.fd).st_blocks * 512


class PipeSnapshot(LinuxSnapshot):
    """A clone that writes into a pipe. Raises `CoreFailed`."""

    def __init__(self, take: Take, origin: Origin | None = None) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        # Made before the clone: after it, each page that is written to is copied first.
        self._reader = io.FileIO(reader, "rb")
        with ignored(OSError):  # the user may have none as large
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        try:
            super().__init__(partial(take, writer), origin)
        except BaseException:
            self._reader.close()
            raise
        finally:
            os.close(writer)

    def core(self) -> CoreStream:
        """Wait for the core's size, which the child knows before it writes anything."""
        return _PipedCore(self._reader, self._child, *self._child.promised_sizes())

    def close(self) -> None:
        """Close the pipe, without which a clone that cannot be killed ends too; reap the child."""
        self._child.kill()
        self._reader.close()
        super().close()


class _FileCore(GrowingFile):
    """A core that the child writes to a file, with holes for zeros."""

    def __init__(self, output: Output, child: Child, size: int) -> None:
        super().__init__(output, _CORE, child)
        self._size = size

    @property
    def size(self) -> int:
        """Bytes of the whole core."""
        return self._size

    def _end(self) -> None:
        self.incomplete = self._child.why_unfinished()
        self.warnings = self._child.warnings


class _PipedCore(CoreStream):
    """A core that the child writes to a pipe; it never touches the disk."""

    def __init__(self, reader: io.FileIO, child: Child, size: int, head_size: int) -> None:
        self._reader = reader
        self._child = child
        self._size = size
        self._read = 0
        self._head = bytearray()
        self._head_size = head_size

    @property
    def size(self) -> int:
        """Bytes of the whole core."""
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes as they arrive."""
        chunk = memoryview(bytearray(CHUNK_SIZE))
        return self.put_into(lambda: chunk)

    def put_into(self, room: Callable[[], memoryview]) -> Iterator[memoryview]:
        """Yield them where they are wanted."""
        while self._read < self._size:
            chunk = room()[: self._size - self._read]
            length = self._fill(chunk)
            if not length:
                return
            self._read += length
            self._head += chunk[: max(0, self._head_size - len(self._head))]
            yield chunk[:length]

    def wait(self) -> None:
        """Read the remaining bytes, and check how the child ended."""
        for _ in self:
            pass
        self.missing = self._size - self._read
        unfinished = self._child.why_unfinished()
        self.warnings = self._child.warnings
        head = io.BytesIO(self._head)
        self.incomplete = why_incomplete(head, self._size, self.missing, unfinished)

    def _fill(self, chunk: memoryview) -> int:
        """Read until *chunk* is full or the pipe ends. Return the number of bytes read."""
        length = 0
        while length < len(chunk) and (part := self._read_some(chunk[length:])):
            length += part
        return length

    def _read_some(self, chunk: memoryview) -> int:
        """Return the number of bytes read, 0 at the end.

        It does not wait for end-of-file: a process that was forked meanwhile may hold the pipe.
        """
        while (length := self._reader.readinto(chunk)) is None:
            if not self._child.will_write(self._reader.fileno()):
                return 0
        return length
