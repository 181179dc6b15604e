"""The destination ``descriptor``: one artefact, written to an open file while it is made."""

import errno
import os
import select
from typing import Final, Protocol

from gencore import Destination, Refused, Upload
from gencore.runtime import wait_for_descriptors

__all__ = ["DescriptorDestination"]

_STANDARD_OUTPUT: Final = 1
_GONE: Final = (errno.EPIPE, errno.ECONNRESET)


class _HasDescriptor(Protocol):
    def fileno(self) -> int:
        """Return it."""


class DescriptorDestination(Destination):
    """Writes to *file*: standard output, a pipe, a socket. No disk is needed.

    A bundle is one artefact, and so is a core; a second one is an error. The file is neither
    closed nor put at its beginning, and what was written to it before through a buffer must have
    been flushed.

    Args:
        file: A descriptor, or what has one; standard output if it is not given.
    """

    name = "descriptor"
    api_version = (1, 1)
    in_process = True

    def __init__(self, file: int | _HasDescriptor = _STANDARD_OUTPUT) -> None:
        self._fd = file if isinstance(file, int) else file.fileno()
        self._used = False

    def check(self) -> None:
        """Refuse a terminal, and what cannot be written to."""
        try:
            os.write(self._fd, b"")
        except OSError as error:
            what = f"descriptor {self._fd} cannot be written to: {error.strerror}"
            raise Refused(what, remedy="give one that is open for writing") from error
        if os.isatty(self._fd):
            what = f"descriptor {self._fd} is a terminal"
            raise Refused(what, remedy="redirect it: > dump.tar.gz")

    def open(self, name: str, size_hint: int | None) -> Upload:  # noqa: ARG002 - a pipe needs none
        """Begin with the one artefact."""
        if self._used:
            raise Refused(
                f"descriptor {self._fd} takes one artefact, and {name} is the second",
                remedy="pack them: collectors=['manifest', 'archive']",
            )
        self._used = True
        return _Descriptor(self._fd)


class _Descriptor(Upload):
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._aborted = False

    def write(self, data: memoryview) -> None:
        while data and not self._aborted:
            data = data[_write_some(self._fd, data) :]

    def commit(self) -> str:
        return f"fd:{self._fd}"

    def abort(self) -> None:
        """Write no more: what is written cannot be taken back."""
        self._aborted = True


def _write_some(fd: int, chunk: memoryview) -> int:
    """Write, waiting where the reader is slow and the descriptor does not block."""
    try:
        return os.write(fd, chunk)
    except BlockingIOError:
        wait_for_descriptors({fd: select.POLLOUT}, None)
        return 0
    except OSError as error:
        what = "its reader has gone" if error.errno in _GONE else error.strerror
        raise Refused(f"descriptor {fd}: {what}") from error
