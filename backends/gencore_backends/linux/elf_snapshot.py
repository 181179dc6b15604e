"""A clone that writes its own core, into a pipe or a file, and that core as it comes."""

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator
from typing import Final

from gencore import CoreStream, DumpRequest, Snapshot
from gencore.backend import CHUNK_SIZE
from gencore.output import Output
from gencore_backends.linux import _native
from gencore_backends.linux.child import Child
from gencore_backends.linux.growing_file import GrowingFile
from gencore_backends.linux.snapshot import STOP_TIMEOUT_MS, LinuxSnapshot, failed_step
from gencore_backends.linux.stack_ranges import stack_ranges

__all__ = ["CONTENTS", "take_to_file", "take_to_pipe"]

CONTENTS: Final = {"full", "private", "stacks"}
_CORE: Final = "core"


def take_to_file(request: DumpRequest, output: Output) -> Snapshot:
    """Clone; the clone writes a file in *output*. Raises `CoreFailed`."""
    core_fd = output.new_file(_CORE)
    try:
        return _Snapshot(request, core_fd, output=output)
    finally:
        os.close(core_fd)


def take_to_pipe(request: DumpRequest) -> Snapshot:
    """Clone; the clone writes into a pipe. Raises `CoreFailed`."""
    reader, writer = os.pipe()
    with contextlib.suppress(OSError):  # more than an unprivileged user may have
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, CHUNK_SIZE)
    try:
        return _Snapshot(request, writer, reader=reader)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)


class _Snapshot(LinuxSnapshot):
    """A clone that writes to *core_fd*: a file in *output*, or the pipe behind *reader*."""

    def __init__(
        self,
        request: DumpRequest,
        core_fd: int,
        *,
        output: Output | None = None,
        reader: int | None = None,
    ) -> None:
        try:
            pid, pidfd, status_fd, phases, threads = _native.snapshot_to_elf(
                core_fd,
                request.content,
                stack_ranges() if request.content == "stacks" else (),
                request.excluded,
                request.with_dontdump,
                request.threads,
                STOP_TIMEOUT_MS,
            )
        except OSError as error:
            raise failed_step(error) from error
        super().__init__(Child(pid, pidfd, status_fd), phases, threads)
        self._output = output
        self._reader = None if reader is None else io.FileIO(reader, "rb")

    def core(self) -> CoreStream:
        """Wait for the core's size, which the child knows before it writes anything."""
        size = self._child.promised_size()
        if self._reader is not None:
            return _PipedCore(self._reader, self._child, size)
        assert self._output is not None  # noqa: S101 - one of the two is there
        return _FileCore(self._output, self._child, size)

    @property
    def written(self) -> int:
        """Bytes on disk, if there is a file."""
        if self._output is None:
            return 0
        return os.stat(_CORE, dir_fd=self._output.fd).st_blocks * 512

    def close(self) -> None:
        """Reap the child, and close the pipe."""
        super().close()
        if self._reader is not None:
            self._reader.close()


class _FileCore(GrowingFile):
    """A core that the child writes to a file, with holes where there are only zeros."""

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
    """A core that the child writes to a pipe; nothing of it touches the disk."""

    def __init__(self, reader: io.FileIO, child: Child, size: int) -> None:
        self._reader = reader
        self._child = child
        self._size = size
        self._read = 0

    @property
    def size(self) -> int:
        """Bytes of the whole core."""
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes as they come."""
        chunk = memoryview(bytearray(CHUNK_SIZE))
        while length := _fill(chunk, self._reader):
            self._read += length
            yield chunk[:length]

    def wait(self) -> None:
        """Read what nobody wanted, and see how the child ended."""
        for _ in self:
            pass
        self.incomplete = self._child.why_unfinished()
        self.warnings = self._child.warnings
        self.missing = self._size - self._read


def _fill(chunk: memoryview, reader: io.FileIO) -> int:
    """Read until *chunk* is full or nothing more comes. Return the bytes read."""
    length = 0
    while length < len(chunk) and (part := reader.readinto(chunk[length:])):
        length += part
    return length
