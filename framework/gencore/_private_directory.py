"""A directory of one maker's alone, locked while it is used, and swept once its maker is dead.

Its maker holds a flock(2) on it, which the kernel releases when the maker ends, however that
happens, and its name has the kernel's boot ID. So a lock that can be had means a dead maker, in
any container of the same kernel. If the name has another boot ID, or none, there may be a lock
that this kernel does not see (a network file system, another virtual machine): only age makes
such a leftover safe to remove. See docs/decisions/0022.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from gencore._runtime.application_errors import ignored, reraise_if_from_handler
from gencore._runtime.os_thread import open_descriptor

__all__ = [
    "DIRECTORY",
    "NEW_FILE",
    "Leftover",
    "boot",
    "disk_usage",
    "empty",
    "enter",
    "is_private",
    "keep",
    "leads_to",
    "leftovers",
    "names_in",
    "place_of",
    "private_name",
    "sweep",
]

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags of open(2) for a directory itself."""
NEW_FILE: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags of open(2), beside how it is used, for a file that nothing has the name of."""
_NAME: Final = re.compile(r"\.(?:.+\.)?[0-9a-f]{16}\.part", re.DOTALL)
_NAMED_BOOT: Final = re.compile(r"\.([0-9a-f]{12})\.[0-9a-f]{16}\.part$")
_PROBE: Final = ".probe"
_LONG_UNTOUCHED: Final = 7 * 86400.0
"""Seconds without a change after which a maker is taken for dead of whom nothing else is known."""

_KEPT: Final = stat.S_ISVTX | stat.S_IRWXU
"""The mode of a directory that is to be kept: for its owner the sticky bit changes nothing."""

State = Literal["in use", "dead", "kept", "unknown"]


class Leftover(NamedTuple):
    """A private directory that was found."""

    name: str
    size: int
    """Bytes on the disk."""
    changed_at: float
    """When something in it was written last, as `time.time` has it."""
    state: State


def private_name(work: str, dir_fd: int) -> str:
    """Return a new name for a private directory for *work* in *dir_fd*."""
    own_boot = boot() if _knows_locks(dir_fd) else ""
    parts = (work, own_boot, os.urandom(8).hex(), "part")
    return "." + ".".join(part for part in parts if part)


def enter(name: str, dir_fd: int) -> int | None:
    """Open and lock a directory that was just made; return its descriptor.

    The lock is held until every copy of it is closed. None if somebody has taken the directory for
    a leftover before it was locked, or has put something else in its place. Raises OSError, having
    removed it.
    """
    fd: int | None = None
    try:
        fd = open_descriptor(name, DIRECTORY, dir_fd=dir_fd)
        if _is_ours(fd) and not names_in(fd) and _hold(name, fd, dir_fd):
            return fd
    except OSError as error:
        reraise_if_from_handler(error)
        if not _is_replaced(error, name, dir_fd):
            _undo(name, fd, dir_fd)
            raise
    except BaseException:
        _undo(name, fd, dir_fd)
        raise
    _undo(name, fd, dir_fd)
    return None


def _undo(name: str, fd: int | None, dir_fd: int) -> None:
    if fd is not None:
        os.close(fd)
    with contextlib.suppress(OSError):  # somebody else's by now, or a sweeper looks at it
        os.rmdir(name, dir_fd=dir_fd)


def _is_replaced(error: OSError, name: str, dir_fd: int) -> bool:
    """Whether the error is that somebody has put something else in a directory's place."""
    if error.errno == errno.EACCES:
        with contextlib.suppress(OSError):
            return os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_uid != os.geteuid()
    return error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}


def _is_ours(fd: int) -> bool:
    """Return whether this user can have made a directory. Raises OSError.

    A file system may give what is made to somebody else: NFS does so with what root makes.
    """
    owner = os.fstat(fd).st_uid
    if owner == os.geteuid():
        return True
    made = open_descriptor(_PROBE, os.O_WRONLY | NEW_FILE, 0o600, dir_fd=fd)
    try:
        return os.fstat(made).st_uid == owner
    finally:
        os.close(made)
        os.unlink(_PROBE, dir_fd=fd)


def _hold(name: str, fd: int, dir_fd: int) -> bool:
    if _NAMED_BOOT.search(name) is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return leads_to(name, fd, dir_fd)


def _knows_locks(dir_fd: int) -> bool:
    """Return whether directories can be locked there: by file system, and by filters of calls."""
    try:
        fcntl.flock(dir_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(dir_fd, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError as error:
        reraise_if_from_handler(error)
        return False
    return True


def leftovers(dir_fd: int) -> Iterator[Leftover]:
    """Yield the private directories in a directory: those in use as well as those left behind."""
    for name, fd in _private_directories(dir_fd):
        yield _describe(name, fd)


def sweep(dir_fd: int) -> Iterator[tuple[Leftover, str | None]]:
    """Remove the private directories of dead makers from a directory; yield each.

    Never raises OSError: with what cannot be removed comes the error.
    """
    for name, fd in _private_directories(dir_fd):
        found = _describe(name, fd)  # has the lock from here on
        if found.state == "dead":
            yield found, _remove(name, fd, dir_fd)


def _remove(name: str, fd: int, dir_fd: int) -> str | None:
    try:
        empty(fd)
        os.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:  # another sweeper was faster
        return None
    except OSError as error:
        reraise_if_from_handler(error)
        return str(error)
    return None


def _private_directories(dir_fd: int) -> Iterator[tuple[str, int]]:
    """Yield name and descriptor of each directory that is of our making."""
    for name in names_in(dir_fd):
        if _NAME.fullmatch(name):
            with ignored(OSError), _opened(name, dir_fd) as fd:
                if is_private(os.fstat(fd)):
                    yield name, fd


@contextlib.contextmanager
def _opened(name: str, dir_fd: int) -> Iterator[int]:
    fd = open_descriptor(name, DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def is_private(status: os.stat_result) -> bool:
    """Return whether a directory is this user's, and closed to others."""
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _describe(name: str, fd: int) -> Leftover:
    """Describe a private directory, and have its lock if its maker is dead."""
    status = os.fstat(fd)
    changed_at = max([status.st_mtime, *(file.st_mtime for file in _files_below(fd))])
    named = _NAMED_BOOT.search(name)
    here = named is not None and named[1] == boot()
    state: State = "kept"
    if stat.S_IMODE(status.st_mode) != _KEPT:
        state = _state(fd, here=here, old=time.time() - changed_at > _LONG_UNTOUCHED)
    return Leftover(name=name, size=disk_usage(fd), changed_at=changed_at, state=state)


def _state(fd: int, *, here: bool, old: bool) -> State:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "in use"
    except OSError as error:
        reraise_if_from_handler(error)
        here = False
    return "dead" if here or old else "unknown"


def disk_usage(fd: int) -> int:
    """Return the bytes that the files below a directory have on the disk."""
    return sum(status.st_blocks * 512 for status in _files_below(fd))


def _files_below(fd: int) -> Iterator[os.stat_result]:
    for _, _, files, folder in os.fwalk(dir_fd=fd):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                yield os.stat(file, dir_fd=folder, follow_symlinks=False)


@cache
def boot() -> str:
    """Return what tells one boot of one kernel from all others; empty if nothing does."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_bytes().decode()
    except (OSError, ValueError) as error:
        reraise_if_from_handler(error)
        return ""
    return text.replace("-", "")[:12]


def names_in(fd: int) -> list[str]:
    """Return the names in a directory, safely when others list it through the same descriptor.

    A descriptor and its duplicates, which os.listdir and os.scandir read, share one position: two
    threads that list at once see names twice or miss them.
    """
    own = open_descriptor(".", DIRECTORY, dir_fd=fd)
    try:
        return os.listdir(own)
    finally:
        os.close(own)


def keep(fd: int) -> None:
    """Mark a private directory as one that nobody removes. Raises OSError."""
    os.fchmod(fd, _KEPT)


def empty(fd: int, kept: Collection[str] = ()) -> None:
    """Remove everything in a directory but the files of these names. Raises OSError."""
    for name in set(names_in(fd)).difference(kept):
        if not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=fd)
            continue
        inner = open_descriptor(name, DIRECTORY, dir_fd=fd)
        try:
            empty(inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=fd)


def leads_to(path: Path | str, fd: int, dir_fd: int | None = None) -> bool:
    """Return whether *path* is the open file or directory *fd*."""
    try:
        there = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        reraise_if_from_handler(error)
        return False
    return os.path.samestat(there, os.fstat(fd))


def place_of(path: Path, fd: int) -> Path:
    """Return where an open directory is: at *path*, unless somebody has renamed it."""
    if not leads_to(path, fd):
        with ignored(OSError):
            return Path(os.readlink(f"/proc/self/fd/{fd}"))
    return path
