"""What a bundle must say about each mapped file: size, hash, names, or why it has none."""

import hashlib
import io
import os
import stat
from typing import Final, Literal

import attrs

from gencore.backend import CHUNK_SIZE, MappedFile
from gencore.errors import IntegrityError

__all__ = ["Library", "describe", "open_regular"]

_ELF_MAGIC: Final = b"\x7fELF"


@attrs.frozen(kw_only=True)
class Library:
    """A mapped file and, where it could be read, its facts."""

    path: str
    status: Literal["ok", "not-elf", "deleted", "unreadable"]
    reason: str | None = None
    """Why the status is not ``ok``."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    build_id: str | None = None
    soname: str | None = None
    """The name by which other libraries ask for it."""

    @property
    def archive_path(self) -> str:
        """The file's path below a bundle's top folder."""
        return self.path.lstrip("/")


def describe(mapped: MappedFile) -> Library:
    """Read one mapped file's facts. Whatever goes wrong becomes its status, never an error."""
    if mapped.deleted:
        return Library(
            path=mapped.path,
            status="deleted",
            reason="the file was deleted or replaced after it was mapped",
        )
    try:
        with open_regular(mapped.path) as file:
            return _describe_elf(mapped.path, file)
    except OSError as error:
        return Library(path=mapped.path, status="unreadable", reason=str(error))
    except IntegrityError as error:
        return Library(path=mapped.path, status="not-elf", reason=str(error))


def open_regular(path: str) -> io.BufferedReader:
    """Open a regular file for reading, without being held up by a FIFO or device in its place.

    Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path}: not a regular file")
    return io.BufferedReader(io.FileIO(fd, "rb"), CHUNK_SIZE)


def _describe_elf(path: str, file: io.BufferedReader) -> Library:
    from gencore.corefile import read_identity

    if file.read(len(_ELF_MAGIC)) != _ELF_MAGIC:
        return Library(path=path, status="not-elf", reason="a data file, not a library")
    build_id, soname = read_identity(file)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Library(
        path=path,
        status="ok",
        size=file.tell(),
        sha256=digest,
        build_id=build_id,
        soname=soname,
    )
