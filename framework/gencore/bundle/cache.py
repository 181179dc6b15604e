"""The unpacked copies of bundles that debuggers work on: private, reused, removed on request.

Each has a directory of its own in the cache. Whoever uses a copy holds a shared flock(2) on that
directory, a debugger that was started on it included, so that no copy is removed under its user.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from gencore._private_directory import (
    DIRECTORY,
    disk_usage,
    empty,
    is_private,
    leads_to,
    names_in,
)
from gencore.bundle.extraction import extract
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.reader import BundleReader
from gencore.errors import IntegrityError, OutputError

__all__ = ["Copy", "UnpackedBundle", "clear", "copies", "unpacked"]

_KEY_DIGITS: Final = 32
_KEY: Final = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS}}}")
"""How the directory of a copy is called; whatever else is in the cache is not ours."""


@attrs.frozen
class UnpackedBundle:
    """Where the files of an unpacked bundle are."""

    folder: Path
    """A sysroot: every library is below it under its own path."""
    core: Path
    executable: Path
    lock: int
    """The descriptor that keeps it from being removed; a program that inherits it does too."""


@attrs.frozen(kw_only=True)
class Copy:
    """The copy of one bundle in the cache."""

    path: Path
    bundle: str | None
    """The bundle's name; None if unpacking was never finished."""
    size: int
    """Bytes on the disk."""
    used_at: float
    """When it was used last, as `time.time` has it."""
    in_use: bool

    def removable(self, older_than: float) -> bool:
        """Whether nobody uses it, nor has for so many seconds; half a copy is never used again."""
        unused = self.bundle is None or time.time() - self.used_at >= older_than
        return unused and not self.in_use


@contextlib.contextmanager
def unpacked(
    bundle: BundleReader, progress: Callable[[int], object] = lambda _: None
) -> Iterator[UnpackedBundle]:
    """Yield the bundle's copy in the cache, unpacked first if it is missing.

    Raises `IntegrityError` and `OutputError`.
    """
    executable = _executable(bundle)
    place = _cache() / _key(bundle.path)
    with _in_use(place) as lock:
        folder = place / bundle.top
        try:
            if not folder.is_dir():
                extract(bundle, place, progress=progress)
            os.utime(lock)
        finally:
            with contextlib.suppress(OSError):
                place.rmdir()  # it is empty if that failed
        yield UnpackedBundle(folder, folder / "core", folder / executable, lock)


def copies() -> Iterator[Copy]:
    """Yield what is in the cache."""
    for place, fd in _places():
        yield _describe(place, fd)


def clear(older_than: float = 0) -> Iterator[tuple[Copy, OSError | None]]:
    """Remove what nobody has used for so many seconds; yield it, with the error if that failed."""
    for place, fd in _places():
        copy = _describe(place, fd)  # has the lock from here on, unless it is in use
        if copy.removable(older_than):
            yield copy, _remove(place, fd)


def _remove(place: Path, fd: int) -> OSError | None:
    try:
        empty(fd)
        place.rmdir()
    except OSError as error:
        return error
    return None


@contextlib.contextmanager
def _in_use(place: Path) -> Iterator[int]:
    """Make the directory if it is missing; yield its descriptor, with a shared lock."""
    fd = None
    while fd is None:
        fd = _locked(place)
    try:
        yield fd
    finally:
        os.close(fd)


def _locked(place: Path) -> int | None:
    """Return None if somebody has removed it before it was locked."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(place, DIRECTORY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(
            str(place), error.errno or 0, "cannot be created", remedy="set XDG_CACHE_HOME"
        ) from error
    if not is_private(os.fstat(fd)):
        os.close(fd)
        raise OutputError(
            str(place),
            errno.EPERM,
            "belongs to another user, or is accessible to others",
            remedy="set XDG_CACHE_HOME to a directory of your own",
        )
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_SH)
    if leads_to(place, fd):
        return fd
    os.close(fd)
    return None


def _places() -> Iterator[tuple[Path, int]]:
    """Yield each copy's directory with a descriptor, oldest first."""
    cache = _cache()
    found = cache.iterdir() if cache.is_dir() else ()
    ours = [place for place in found if _KEY.fullmatch(place.name)]
    for place in sorted(ours, key=_used_at):
        try:
            fd = os.open(place, DIRECTORY)
        except OSError:  # somebody else has removed it, or it is no directory
            continue
        try:
            if is_private(os.fstat(fd)):
                yield place, fd
        finally:
            os.close(fd)


def _used_at(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0


def _describe(place: Path, fd: int) -> Copy:
    names = (name for name in names_in(fd) if not name.startswith("."))
    return Copy(
        path=place,
        bundle=next(names, None),
        size=disk_usage(fd),
        used_at=os.fstat(fd).st_mtime,
        in_use=not _lock(fd),
    )


def _lock(fd: int) -> bool:
    """Return whether nobody else has a lock on it; it is locked then."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _cache() -> Path:
    """Return the directory that the XDG base directory specification gives to caches."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # relative ones are to be ignored
        base = f"{Path.home()}/.cache"
    return Path(base, "gencore", "bundles")


def _key(path: Path) -> str:
    """Return another name for another file, or the same file with other contents."""
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}"
    return hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:_KEY_DIGITS]


def _executable(bundle: BundleReader) -> str:
    """Return the executable's path below the folder. Raises `IntegrityError` if it is missing."""
    path = ManifestValue(bundle.manifest())["process"]["executable"]["path"].text
    member = bundle.find(path) if path is not None else None
    if member is None:
        raise IntegrityError(f"{bundle.path}: executable {path!r} not found in the bundle")
    text = os.fsencode(member.path).decode(errors="replace")
    if not text.isprintable() or "`" in text:  # LLDB takes what follows for a command
        raise IntegrityError(
            f"{bundle.path}: the executable's path {path!r} has control characters or backticks"
        )
    return member.path
