"""Where artefacts are until they are published: in files, uploads, or memory."""

import errno
import io
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, Final, Protocol

import attrs

from gencore._pipeline.outgoing import Outgoing
from gencore.core_stream import CHUNK_SIZE
from gencore.output import ArtifactWriter, Output
from gencore.report import Artifact

__all__ = ["Store", "Stores"]

_LARGEST_SPOOL: Final = 256 << 20
"""Bytes of all artefacts of a dump that are held in memory until they are packed."""


class Store(Protocol):
    """What keeps the artefacts of one collector."""

    def create(self, name: str) -> ArtifactWriter:
        """Begin an artefact."""

    def check(self, writer: ArtifactWriter) -> None:
        """Raise `ValueError` if it is not as it was written."""

    def rename(self, old: str, new: str) -> bool:
        """Give it another name; return False if it is too late for that."""

    def remove(self, name: str) -> None:
        """Leave nothing of it."""


class Stores:
    """The stores of one dump.

    Without a destination and filters all is files of the private directory, which get their final
    names at the end. With either, an artefact is sent while it is made; one that is to be packed
    is held in memory, so that nothing of it is written to a disk.
    """

    def __init__(self, output: Output, outgoing: Outgoing | None) -> None:
        self._output = output
        self._outgoing = outgoing
        self._spool = _Spool()

    @property
    def are_files(self) -> bool:
        """Whether artefacts are files of the output directory."""
        return self._outgoing is None

    @property
    def published(self) -> Store:
        """For what is published as it is made."""
        return self._output if self._outgoing is None else self._outgoing

    @property
    def packed(self) -> Store:
        """For what is to be packed."""
        return self._output if self._outgoing is None else self._spool

    def open(self, name: str) -> BinaryIO:
        """Open an artefact that is to be packed. Raises OSError."""
        return self._output.open(name) if self._outgoing is None else self._spool.open(name)

    def move(self, file: str, name: str) -> bool:
        """Make a backend's *file* the artefact *name*; return False if it is to be copied."""
        if self._outgoing is not None:
            return False
        if file != name:
            self._output.rename(file, name)
        return True

    def copy(self, file: str, writer: ArtifactWriter) -> None:
        """Copy a backend's *file*. Raises OSError."""
        with self._output.open(file) as source:
            shutil.copyfileobj(source, writer, CHUNK_SIZE)

    def publish(self, artifact: Artifact) -> Artifact:
        """Make it appear where it belongs. Raises `GencoreError`."""
        if self._outgoing is None:
            return attrs.evolve(artifact, path=self._output.publish(artifact))
        if artifact.name in self._spool:
            return self._outgoing.send(artifact, self._spool.open(artifact.name))
        return self._outgoing.publish(artifact)

    @property
    def who(self) -> str:
        """Who gets the artefacts, for messages."""
        return "the output directory" if self._outgoing is None else self._outgoing.who

    def leftovers(self) -> list[Callable[[], object]]:
        """Return what removes all that was not published: calls of a destination, and the last."""
        outgoing = self._outgoing
        aborts = [] if outgoing is None else [partial(outgoing.remove, n) for n in outgoing.names]
        return [*aborts, self._output.close]


class _Spool:
    """Artefacts in memory."""

    def __init__(self) -> None:
        self._files: dict[str, _Kept] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def create(self, name: str) -> ArtifactWriter:
        self._files[name] = kept = _Kept(self._room)
        return ArtifactWriter(name, kept, name)

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._files[name].data)

    def check(self, writer: ArtifactWriter) -> None:
        """Do nothing: nobody else can reach it."""

    def rename(self, old: str, new: str) -> bool:
        self._files[new] = self._files.pop(old)
        return True

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def _room(self) -> int:
        return _LARGEST_SPOOL - sum(file.size for file in self._files.values())


class _Kept(io.BytesIO):
    """One of them. Its bytes stay when it is closed."""

    def __init__(self, room: Callable[[], int]) -> None:
        super().__init__()
        self._room = room
        self.size = 0
        self.data = b""

    def write(self, data: Any, /) -> int:
        if len(data) > self._room():
            what = f"more than {_LARGEST_SPOOL >> 20} MiB are to be packed, and held in memory"
            raise OSError(errno.ENOMEM, what)
        self.size += len(data)
        return super().write(data)

    def close(self) -> None:
        if not self.closed:
            self.data = self.getvalue()
        super().close()
