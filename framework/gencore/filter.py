"""The contract between the framework and a filter: what an artefact's bytes pass on their way.

A complete filter::

    class Zstd(Filter):
        name = "zstd"
        api_version = (1, 1)
        suffix = ".zst"

        def open(self, writer):
            return zstandard.ZstdCompressor().stream_writer(writer, closefd=False)

published by its distribution as an entry point in the group ``gencore.filters`` under the same
name. docs/how-to/write-a-filter.md walks through a working one.
"""

from abc import ABC, abstractmethod
from typing import BinaryIO, ClassVar, Protocol

__all__ = ["AbortableSink", "ByteSink", "Filter"]


class ByteSink(Protocol):
    """What takes bytes until it is closed."""

    def write(self, data: memoryview, /) -> object:
        """Take the next bytes."""

    def close(self) -> object:
        """Take no more, and pass on what is still held before it returns; nothing later.

        Called once at most; a second call must write nothing.
        """


class AbortableSink(ByteSink, Protocol):
    """One that holds more than memory, such as a process or a key that is to be wiped.

    One without ``abort`` is closed if its artefact is given up, and nothing is sent of what it
    writes then.
    """

    def abort(self) -> object:
        """Be told that no more bytes will come, or that what came will not be published.

        Called once at most, also after ``close``, from any thread, also while ``write`` goes on:
        release everything, write nothing, raise nothing.
        """


class Filter(ABC):
    """Changes bytes on their way: encrypts, compresses. One object serves one dump.

    With a filter nothing unfiltered is written to a disk: what is to be packed is held in memory
    until then, and only backends that stream their core are used. Everything is called after the
    pause, on the dump's worker thread, but for `check`.
    """

    name: ClassVar[str]
    """The entry point's name: lower-case letters, digits and hyphens."""
    api_version: ClassVar[tuple[int, int]]
    """The version of this contract that the filter was written for; now (1, 1)."""
    suffix: ClassVar[str]
    """What it adds to the name of a file: ``.age``; 32 bytes at most."""

    def check(self) -> None:  # noqa: B027 - nothing to check is the default, not an omission
        """Raise what is wrong with options, keys, recipients. Default: nothing is.

        Called as `Destination.check` is, and refuses the dump as that does.
        """

    @abstractmethod
    def open(self, writer: BinaryIO) -> ByteSink:
        """Return what takes the bytes of one artefact, and writes to *writer* what comes of them.

        Closing it must write the rest, and not close *writer*. Called once for each artefact. What
        is returned may have a method `AbortableSink.abort`.
        """
