"""The collector ``stream``: the core, written to an open file as it comes. No disk is needed."""

import os
import select
from collections.abc import Iterable
from typing import Final, Protocol

from gencore import Artifact, Collector, CoreSink, DumpInProgress
from gencore.runtime import wait_for_descriptors

__all__ = ["StreamCollector"]

_STANDARD_OUTPUT: Final = 1


class _HasDescriptor(Protocol):
    def fileno(self) -> int:
        """Return it."""


class StreamCollector(Collector):
    """Writes the core to *file*: a descriptor, or what has one; standard output by default.

    It is neither closed nor put at its beginning. What was written to it before through a buffer
    must have been flushed.
    """

    name = "stream"
    api_version = (1, 0)
    time_limit = None
    makes_files = False

    def __init__(self, file: int | _HasDescriptor = _STANDARD_OUTPUT) -> None:
        self._fd = file if isinstance(file, int) else file.fileno()

    def begin(self, dump: DumpInProgress) -> CoreSink | None:  # noqa: ARG002 - the contract's
        """Ask for the bytes."""
        return _Descriptor(self._fd)

    def finish(self, dump: DumpInProgress) -> Iterable[Artifact]:
        """Tell what was written."""
        core = dump.core
        if core is None:
            return []
        size = core.size - core.missing
        return [Artifact(name="core", size=size, sha256=dump.core_sha256, streamed=True)]


class _Descriptor(CoreSink):
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, chunk: memoryview) -> None:
        while chunk:
            chunk = chunk[_write_some(self._fd, chunk) :]


def _write_some(fd: int, chunk: memoryview) -> int:
    """Write, waiting where the reader is slow and the descriptor does not block."""
    try:
        return os.write(fd, chunk)
    except BlockingIOError:
        wait_for_descriptors({fd: select.POLLOUT}, None)
        return 0
