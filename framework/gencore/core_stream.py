"""The bytes of one core, as a backend delivers them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Final

from gencore.output import Output

__all__ = ["CHUNK_SIZE", "CoreStream", "FileCoreStream"]

CHUNK_SIZE: Final = 1 << 20
"""Bytes in one chunk of a core stream, at most."""


class CoreStream(ABC):
    """The bytes of one core, in file order, to be read once."""

    file: str | None = None
    """The core's name in the output's private directory, if it is a file there."""
    incomplete: str | None = None
    """Why the core is incomplete; known after `wait`."""
    missing: int = 0
    """Promised bytes that are missing at the end; known after `wait`."""
    warnings: tuple[str, ...] = ()
    """What the core lacks although it is as long as promised; known after `wait`."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that the core's program headers promise.

        Where a third party's stream says something else than these, they are believed.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[memoryview]:
        """Yield chunks of at most `CHUNK_SIZE` bytes, each valid until the next one is taken.

        May begin while the core is still being written. Ends early if the rest is missing.
        Raises `CoreFailed` if there is no core.
        """

    def put_into(self, room: Callable[[], memoryview]) -> Iterator[memoryview]:  # noqa: ARG002
        """Yield the same chunks, each at the beginning of what *room* returns, if that is quicker.

        It has room for one byte at least, and is asked for before each chunk. Default: the chunks
        are wherever iterating puts them.
        """
        return iter(self)

    def wait(self) -> None:  # noqa: B027 - a core that is there already needs no waiting
        """Block until the core is written, and check it. Default: it is already written.

        Called once: after the last chunk, or instead of reading if no collector takes the bytes.
        The first chunk of another distribution's stream was taken even then. Raises `CoreFailed`.
        """


class FileCoreStream(CoreStream):
    """A core that the backend has as a file in the output's private directory."""

    def __init__(self, output: Output, file: str, incomplete: str | None = None) -> None:
        self.file: str = file
        self.incomplete = incomplete
        self._output = output
        self._size = os.stat(file, dir_fd=output.fd, follow_symlinks=False).st_size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the file's bytes."""
        chunk = memoryview(bytearray(CHUNK_SIZE))
        with self._output.open(self.file) as core:
            while length := core.readinto(chunk):
                yield chunk[:length]
