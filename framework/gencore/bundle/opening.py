"""The one way to open whatever has a core in it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from gencore._runtime.regular_file import open_regular
from gencore.bundle.cache import spooled
from gencore.bundle.codecs import codec_of
from gencore.bundle.contents import Member
from gencore.bundle.decompression import DecompressedFile, measure, peek
from gencore.bundle.extracted_directory import ExtractedDirectory
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.raw_core import RawCore
from gencore.bundle.reader import BundleReader
from gencore.bundle.streamed_member import StreamedMember
from gencore.bundle.verification import Check, verify
from gencore.bundle.walk import walk
from gencore.errors import IntegrityError, UsageError

__all__ = ["open_core"]

_ELF: Final = b"\x7fELF"
_STANDARD_INPUT: Final = Path("-")


class _Bundle(BundleReader, OpenedCore):  # type: ignore[misc]  # `members` is narrower
    """A bundle as what it brings along."""

    kind = "bundle"

    def facts(self) -> dict[str, Any]:
        """Return the manifest."""
        return self.manifest()

    def verify(self, progress: Callable[[int], object]) -> tuple[Check, ...]:
        """Return all checks."""
        return verify(self, progress)

    def walk(
        self, progress: Callable[[int], object], *, hashed: bool = True
    ) -> Iterator[tuple[Member, StreamedMember]]:
        """Yield each member with its bytes, as the archive has them one behind the other."""
        return walk(self, progress, hashed=hashed)


@contextmanager
def open_core(path: Path | str, *, max_stream: int | None = None) -> Iterator[OpenedCore]:
    """Open a bundle, a core, a core compressed with gzip or zstd, or an extracted bundle.

    A core may be of gencore, of the kernel or of gcore. ``-`` is standard input, which is copied
    to the cache meanwhile, *max_stream* bytes at most. Raises `IntegrityError` for other files,
    `UsageError` if a library is missing, and OSError.
    """
    if Path(path) == _STANDARD_INPUT:
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal", remedy="gencore info - < CORE")
        with spooled(sys.stdin.buffer, max_stream) as copy, _named(copy), _open(copy) as opened:
            opened.in_place = None  # the copy is removed at the end
            yield opened
    else:
        with _open(Path(path)) as opened:
            yield opened


@contextmanager
def _named(copy: Path) -> Iterator[None]:
    """Let errors name standard input, and not its copy, which is removed before they are read."""
    try:
        yield
    except IntegrityError as error:
        error.message = error.message.replace(str(copy), "standard input")
        if str(copy) in (error.remedy or ""):
            error.remedy = None
        raise


def _open(path: Path) -> OpenedCore:
    if path.is_dir():
        return ExtractedDirectory(path)
    with open_regular(str(path)) as file:
        beginning = file.read(len(_ELF)) or b""
    if beginning == _ELF:
        return RawCore(path, lambda: BufferedReader(open_regular(str(path))), in_place=path)
    is_compressed = codec_of(beginning) is not None
    if is_compressed and _has_core(path, beginning):
        size = measure(path, beginning)
        return RawCore(path, partial(DecompressedFile, path, beginning, size))
    if is_compressed:
        return _Bundle(path)
    raise IntegrityError(f"{path}: neither a bundle nor a core file")


def _has_core(path: Path, beginning: bytes) -> bool:
    try:
        return peek(path, beginning, len(_ELF)) == _ELF
    except IntegrityError:
        return False
