"""Unpacks a bundle: regular files only, below one new directory, with holes for zeros."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from gencore._escaping import quote_path
from gencore._final_directory import refusal
from gencore._private_directory import (
    DIRECTORY,
    NEW_FILE,
    empty,
    enter,
    leads_to,
    private_name,
    sweep,
)
from gencore._runtime.other_thread import ahead
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.reader import BundleReader
from gencore.bundle.walk import walk
from gencore.errors import IntegrityError, OutputError, UsageError

__all__ = ["Readable", "TooLarge", "extract", "unpack"]

_BLOCK: Final = 1 << 20
_PIECE: Final = 1 << 16
"""What is left out if it is zeros."""
_ZEROS: Final = bytes(_PIECE)


class TooLarge(IntegrityError):
    """There is more to write than was allowed."""


class Readable(Protocol):
    """What a file is copied from."""

    def read(self, size: int, /) -> bytes:
        """Read *size* bytes at most; none at the end."""


def extract(
    bundle: BundleReader | OpenedCore,
    directory: Path,
    names: Iterable[str] = (),
    progress: Callable[[int], object] = lambda _: None,
    *,
    max_size: int | None = None,
) -> Path:
    """Unpack the members *names*, or all, and return the new folder, which has the bundle's name.

    The archive is read from its beginning to its end, whatever is unpacked: what the table of
    contents says is believed only if that agrees, and of several files of one name tar takes the
    last. Directories get mode 0700 and files 0600. The folder appears once it is complete; what
    failed leaves nothing behind. *progress* is called with the number of bytes of each step.
    *max_size* is how many bytes may be written, zeros not counted; None: as many as there are.
    Raises `IntegrityError`, `OutputError`, and `UsageError` for a name that is not in the bundle.
    """
    chosen = _choose(bundle, list(names))
    walked = bundle.walk(progress) if isinstance(bundle, OpenedCore) else walk(bundle, progress)
    contents = ((member.path, file) for member, file in walked if member.path in chosen)
    return unpack(contents, directory, bundle.top, max_size)


def unpack(
    contents: Iterable[tuple[str, Readable]],
    directory: Path,
    top: str,
    max_size: int | None = None,
) -> Path:
    """Write files below a new folder *top*, and return that; see `extract`."""
    target = directory / top
    if os.path.lexists(target):
        raise OutputError(
            str(target),
            errno.EEXIST,
            "already exists",
            remedy="remove it, or choose another directory",
        )
    left = sys.maxsize if max_size is None else max_size
    with _private_directory(directory) as (private, root_fd):
        for path, content in contents:
            with _below(root_fd, path) as target_fd:
                left = _copy(content, target_fd, left)
        private.rename(target)
    return target


def _choose(bundle: BundleReader | OpenedCore, names: list[str]) -> frozenset[str]:
    known = {member.path for member in bundle.members}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"not found in the bundle: {', '.join(unknown)}",
            remedy=f"list the members: gencore info --files {quote_path(bundle.path)}",
        )
    return frozenset(names or known)


@contextlib.contextmanager
def _private_directory(parent: Path) -> Iterator[tuple[Path, int]]:
    """Make a directory, and remove it at the end unless it was renamed."""
    try:
        parent_fd = os.open(parent, DIRECTORY & ~os.O_NOFOLLOW)
        try:
            list(sweep(parent_fd))
            name, root_fd = _make(parent_fd)
        except BaseException:
            os.close(parent_fd)
            raise
    except OSError as error:
        raise refusal(parent, error) from error
    try:
        yield parent / name, root_fd
    except OSError as error:
        raise OutputError(str(parent), error.errno or 0, "writing the files failed") from error
    finally:
        if leads_to(name, root_fd, parent_fd):
            with contextlib.suppress(OSError):
                empty(root_fd)
                os.rmdir(name, dir_fd=parent_fd)
        os.close(root_fd)
        os.close(parent_fd)


def _make(parent_fd: int) -> tuple[str, int]:
    root_fd = None
    while root_fd is None:
        name = private_name("extract", parent_fd)
        os.mkdir(name, mode=0o700, dir_fd=parent_fd)
        root_fd = enter(name, parent_fd)
    return name, root_fd


@contextlib.contextmanager
def _below(root_fd: int, path: str) -> Iterator[int]:
    """Create a file and its parent directories, following no link."""
    *parents, name = path.split("/")
    directory_fd = os.dup(root_fd)
    try:
        for parent in parents:
            directory_fd = _enter(directory_fd, parent)
        fd = os.open(name, os.O_WRONLY | NEW_FILE, 0o600, dir_fd=directory_fd)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise IntegrityError(f"{path!r} is both a file and a directory") from error
    finally:
        os.close(directory_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _enter(directory_fd: int, name: str) -> int:
    """Open a directory, created if missing; close its parent."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=directory_fd)
    below = os.open(name, DIRECTORY, dir_fd=directory_fd)
    os.close(directory_fd)
    return below


def _copy(source: Readable, target_fd: int, left: int) -> int:
    """Copy a file, with holes for zeros. Return how much is left of what may be written."""
    with os.fdopen(os.dup(target_fd), "wb") as target:
        for block in ahead(iter(lambda: source.read(_BLOCK), b""), "gencore-ahead"):
            left = _write(block, target, left)
        target.truncate()
    return left


def _write(block: bytes, target: BinaryIO, left: int) -> int:
    view, begins = memoryview(block), range(0, len(block), _PIECE)
    for are_zeros, group in groupby(begins, partial(_is_zeros, block)):
        places = [*group]
        pieces = view[places[0] : places[-1] + _PIECE]
        if are_zeros:
            target.seek(len(pieces), os.SEEK_CUR)
            continue
        left -= len(pieces)
        if left < 0:
            raise TooLarge("the unpacked files are larger than expected")
        target.write(pieces)
    return left


def _is_zeros(block: bytes, begin: int) -> bool:
    """Whether the piece that begins there is zeros."""
    return block.startswith(_ZEROS[: len(block) - begin], begin)
