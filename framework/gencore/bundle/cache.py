"""The unpacked copies of bundles that debuggers work on: private, reused, removed on request.

Each has a directory of its own in the cache. Whoever uses a copy holds a shared flock(2) on that
directory, a debugger that was started on it included, so that no copy is removed under its user.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from gencore._cache_directory import cache_directory, foreign, make_private
from gencore._private_directory import (
    DIRECTORY,
    disk_usage,
    empty,
    is_private,
    leads_to,
    names_in,
)
from gencore._quantities import read_age, read_size
from gencore.bundle.extraction import Readable, TooLarge, unpack
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.errors import IntegrityError, OutputError, UsageError

__all__ = ["Copy", "UnpackedCore", "clear", "copies", "hold", "spooled", "unpacked"]

_KEY_DIGITS: Final = 32
_KEY: Final = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS}}}")
"""How the directory of a copy is called; whatever else is in the cache is not ours."""
_STREAM: Final = "stdin"
_DIRECTORY: Final = "bundles"
_LIMITS: Final[Mapping[str, tuple[Callable[[str], float], str]]] = {
    "GENCORE_CACHE_BYTES": (read_size, "20 GiB"),
    "GENCORE_CACHE_AGE": (read_age, "7d"),
}
"""How large all copies may be together, and how old each, when another one is made."""


@attrs.frozen
class UnpackedCore:
    """Where a core and the files that belong to it are."""

    folder: Path
    """A sysroot: every library is below it under its own path."""
    core: Path
    executable: Path | None
    """None if it is missing: only a raw core may lack it."""
    copy: Path | None
    """The directory of the copy; None if nothing was copied."""

    @property
    def readable(self) -> list[Path]:
        """What a program must be able to read: the folder, and a core that is not copied.

        And the directory of the copy, on which it holds the lock.
        """
        outside = () if self.core.is_relative_to(self.folder) else (self.core,)
        return [self.folder, *outside, *(() if self.copy is None else (self.copy,))]


def hold(place: Path) -> None:
    """Lock the directory of a copy for as long as this process lives, whatever it executes.

    A confined one calls this itself: from a descriptor of a directory that was opened before,
    ``..`` leads out of a mount namespace. Raises OSError.
    """
    fd = os.open(place, DIRECTORY)
    os.set_inheritable(fd, True)  # noqa: FBT003 - the program that is executed has the lock
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_SH)


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
    opened: OpenedCore,
    progress: Callable[[int], object] = lambda _: None,
    *,
    keep: bool = True,
    max_size: int | None = None,
) -> Iterator[UnpackedCore]:
    """Yield its copy in the cache, made first if it is missing; a directory is used as it is.

    Check sums find what was damaged by chance. Hashes are left to `verify` and `extract`: whoever
    has changed a bundle on purpose has changed those in its table of contents too.

    Unless *keep*, a copy that was made is removed at the end. *max_size* is how many bytes may be
    written for it, zeros not counted. Raises `IntegrityError` and `OutputError`.
    """
    executable = _executable(opened)
    if opened.kind == "directory":
        yield _unpacked(opened, opened.path, executable, None)
        return
    place = cache_directory(_DIRECTORY) / _key(opened)
    used_once = not keep and not place.is_dir()
    if used_once:
        place = place.with_name(secrets.token_hex(_KEY_DIGITS // 2))  # of nobody else
    with _in_use(place) as lock:
        try:
            folder = _filled(opened, place, lock, progress, max_size)
            copy = _unpacked(opened, folder, executable, place)
            _date(copy)
            yield copy
        finally:
            if used_once:
                _remove(place, lock)
            with contextlib.suppress(OSError):
                place.rmdir()  # it is empty if that failed


def _filled(
    opened: OpenedCore,
    place: Path,
    fd: int,
    progress: Callable[[int], object],
    max_size: int | None,
) -> Path:
    """Return the folder in a copy's directory, made first if it is missing."""
    folder = place / opened.top
    if folder.is_dir():
        _check_owner(place, fd)
    else:
        left_out = {"core"} if opened.in_place else set()
        chosen = {member.path for member in opened.members} - left_out
        walked = opened.walk(progress, hashed=False)
        contents = ((member.path, file) for member, file in walked if member.path in chosen)
        unpack(contents, place, opened.top, max_size)
        _shrink(place)
    os.utime(fd)
    return folder


def _date(copy: UnpackedCore) -> None:
    """Let the executable not be newer than the core: gdb would warn that they do not match."""
    if copy.executable is None:
        return
    with contextlib.suppress(OSError):  # one of them is missing, which is reported later
        status = copy.core.stat()
        os.utime(copy.executable, ns=(status.st_atime_ns, status.st_mtime_ns))


def _check_owner(place: Path, fd: int) -> None:
    """Raise `OutputError` if another user has made anything in a copy, and `IntegrityError`."""
    for _, folders, files, below in os.fwalk(dir_fd=fd):
        for name in (*folders, *files):
            status = os.stat(name, dir_fd=below, follow_symlinks=False)
            if status.st_uid != os.geteuid():
                raise foreign(place, "has files of another user", "gencore cache clear")


def _unpacked(
    opened: OpenedCore, folder: Path, executable: str | None, copy: Path | None
) -> UnpackedCore:
    folder = folder.absolute()
    return UnpackedCore(
        folder=folder,
        core=(opened.in_place or folder / "core").absolute(),
        executable=None if executable is None else folder / executable,
        copy=copy,
    )


@contextlib.contextmanager
def spooled(stream: Readable, max_size: int | None = None) -> Iterator[Path]:
    """Copy a stream, which can be read only once, into a file in the cache; remove it at the end.

    Raises `OutputError`, and `IntegrityError` if it has more than *max_size* bytes beside zeros.
    """
    place = cache_directory(_DIRECTORY) / secrets.token_hex(_KEY_DIGITS // 2)
    with _in_use(place) as lock:
        try:
            yield _spool(stream, place, max_size)
        finally:
            _remove(place, lock)


def _spool(stream: Readable, place: Path, max_size: int | None) -> Path:
    try:
        return unpack([(_STREAM, stream)], place, _STREAM, max_size) / _STREAM
    except TooLarge as error:
        raise TooLarge(f"standard input is larger than {max_size:,} bytes") from error


def _shrink(kept: Path) -> None:
    """Remove the copies that are too old, and the oldest as long as all are too large together."""
    most, oldest = _limit("GENCORE_CACHE_BYTES"), _limit("GENCORE_CACHE_AGE")
    size = sum(copy.size for copy in copies())
    for place, fd in _places():
        copy = _describe(place, fd)
        if place != kept and (copy.removable(oldest) or (size > most and not copy.in_use)):
            size -= copy.size
            _remove(place, fd)


def _limit(variable: str) -> float:
    """Return bytes, or seconds. Raises `UsageError` if the environment has something else."""
    read, default = _LIMITS[variable]
    text = os.environ.get(variable) or default
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(f"{variable}: {error.message}", remedy=error.remedy) from error


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
        make_private(place.parent)
        place.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(place, DIRECTORY)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        if isinstance(error, FileNotFoundError) and place.parent.is_dir():  # not so in /proc
            return None
        raise OutputError(
            str(place), error.errno or 0, "cannot be created", remedy="set XDG_CACHE_HOME"
        ) from error
    if not is_private(os.fstat(fd)):
        os.close(fd)
        raise foreign(place, "belongs to another user, or is accessible to others")
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_SH)
    if leads_to(place, fd):
        return fd
    os.close(fd)
    return None


def _places() -> Iterator[tuple[Path, int]]:
    """Yield each copy's directory with a descriptor, oldest first."""
    cache = cache_directory(_DIRECTORY)
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


def _key(opened: OpenedCore) -> str:
    """Return another name for another file, or the same with other contents or files beside it.

    Whoever sends a file can choose its size and mtime, and write it in place; not its ctime.
    """
    status = opened.path.stat()
    changed = (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_dev,
        status.st_ino,
    )
    parts = [str(opened.path.resolve()), *changed]
    if opened.kind == "core":  # what of this machine belongs to it changes
        parts += sorted(member.path for member in opened.members)
    identity = "\0".join(map(str, parts)).encode(errors="surrogateescape")
    return hashlib.sha256(identity).hexdigest()[:_KEY_DIGITS]


def _executable(opened: OpenedCore) -> str | None:
    """Return the executable's path below the folder. Raises `IntegrityError`."""
    path = ManifestValue(opened.facts())["process"]["executable"]["path"].text
    member = opened.find(path) if path is not None else None
    if member is None:
        if opened.kind == "core":
            return None
        raise IntegrityError(f"{opened.path}: executable {path!r} not found in the {opened.kind}")
    text = os.fsencode(member.path).decode(errors="replace")
    if not text.isprintable() or "`" in text:  # LLDB takes what follows for a command
        raise IntegrityError(
            f"{opened.path}: the executable's path {path!r} has control characters or backticks"
        )
    return member.path
