"""Describes each mapped file for a bundle: size, hash, names, or why they are unknown."""

import io
import os
import posixpath
from typing import Final, Literal

import attrs

from gencore._known_hashes import KnownHashes, read_sha256
from gencore._runtime import regular_file
from gencore.core_stream import CHUNK_SIZE
from gencore.errors import IntegrityError
from gencore.process import MappedFile
from gencore.request import DumpRequest

__all__ = ["Library", "open_regular"]

_ELF_MAGIC: Final = b"\x7fELF"
_NO_FILES: Final = ("/dev/", "/memfd:", "/SYSV")
_LARGEST_DATA: Final = 64 << 20
"""Bytes of a mapped file that is not ELF: code does not need it, and a full core has its data."""
_GONE: Final = (
    "the file was deleted or replaced after it was mapped, and reading it requires "
    "CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN"
)

Status = Literal["ok", "not-elf", "deleted", "unreadable", "skipped"]


@attrs.frozen(kw_only=True)
class Library:
    """A mapped file and, if it could be read, its facts."""

    path: str
    status: Status
    """The outcome. ``not-elf`` is a data file, which may have been read all the same."""
    reason: str | None = None
    """Why the status is not ``ok``."""
    deleted: bool = False
    """Whether `path` no longer leads to it; the facts are those of the mapped file."""
    source: str | None = None
    """Where its bytes can be read; None if they cannot."""
    aliases: tuple[str, ...] | None = None
    """Other paths under which the dynamic linker knows it; None if they are unknown."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    build_id: str | None = None
    soname: str | None = None
    """The name by which other libraries refer to it (DT_SONAME)."""

    @property
    def archive_paths(self) -> tuple[str, ...]:
        """The file's paths below a bundle's top folder, its own first; none if it was not read.

        The linker's names may lead up and down again ($ORIGIN, see ld.so(8)).
        """
        if self.sha256 is None:
            return ()
        aliases = map(posixpath.normpath, self.aliases or ())
        return tuple(dict.fromkeys(path.lstrip("/") for path in (self.path, *aliases)))


def describe(
    mapped: MappedFile, request: DumpRequest | None = None, hashes: KnownHashes | None = None
) -> Library:
    """Read one mapped file's facts. A failure becomes its status, never an error.

    *request*: of the dump. A file whose memory is excluded from the core is not read, and a data
    file only if the core has the data of files too. *hashes*: of libraries that need not be read.
    """
    if mapped.path.startswith(_NO_FILES):
        return _without_facts(mapped, "skipped", "a device or shared memory, not a file")
    if request is not None and (reason := _why_kept_out(mapped, request)):
        return _without_facts(mapped, "skipped", reason)
    source = mapped.read_from or mapped.path
    with_data = request is None or request.content == "full"
    try:
        with regular_file.open_regular(source) as file:  # not buffered: each byte is read once
            found = _identify(mapped, source, file)
            if found.status == "not-elf" and not with_data:
                reason = "a data file; content='full' includes the data of files"
                found = _without_facts(mapped, "skipped", reason)
            return found if found.source is None else _with_hash(found, file, hashes)
    except OSError as error:
        if mapped.deleted:
            return _without_facts(mapped, "deleted", f"{_GONE}: {error}")
        return _without_facts(mapped, "unreadable", str(error))


def _why_kept_out(mapped: MappedFile, request: DumpRequest) -> str | None:
    """Return why memory of this file must not be in the core; None if it may be."""
    if mapped.dontdump and not request.with_dontdump:
        return "some of its memory is marked with MADV_DONTDUMP"
    if any(
        start < excluded_end and excluded_start < end
        for start, end in mapped.data
        for excluded_start, excluded_end in request.excluded
    ):
        return "some of its memory is excluded from dumps by gencore.exclude"
    return None


def _without_facts(mapped: MappedFile, status: Status, reason: str | None = None) -> Library:
    return Library(
        path=mapped.path,
        status=status,
        reason=reason,
        deleted=mapped.deleted,
        aliases=mapped.aliases,
    )


def open_regular(path: str) -> io.BufferedReader:
    """Open a regular file for reading, without blocking on a FIFO or device in its place.

    Raises OSError.
    """
    return io.BufferedReader(regular_file.open_regular(path), CHUNK_SIZE)


def _identify(mapped: MappedFile, source: str, file: io.FileIO) -> Library:
    """Return what a file is; without a source if it is not to be read further."""
    size = os.fstat(file.fileno()).st_size
    if file.read(len(_ELF_MAGIC)) == _ELF_MAGIC:
        return _identify_elf(mapped, source, file)
    if size > _LARGEST_DATA:
        reason = f"a data file of {size:,} bytes; the limit is {_LARGEST_DATA:,}"
        return _without_facts(mapped, "skipped", reason)
    found = _without_facts(mapped, "not-elf", "a data file, not a library")
    return attrs.evolve(found, source=source)


def _identify_elf(mapped: MappedFile, source: str, file: io.FileIO) -> Library:
    from gencore._elf_identity import read_identity

    try:
        build_id, soname = read_identity(file)
    except IntegrityError as error:
        return attrs.evolve(_without_facts(mapped, "not-elf", str(error)), source=source)
    found = _without_facts(mapped, "ok")
    return attrs.evolve(found, source=source, build_id=build_id, soname=soname)


def _with_hash(found: Library, file: io.FileIO, hashes: KnownHashes | None) -> Library:
    if hashes is not None and found.build_id is not None:
        size, sha256 = hashes.sha256_of(file, found.build_id)
    else:
        size, sha256 = read_sha256(file)
    return attrs.evolve(found, size=size, sha256=sha256)
