"""The directory in which artefacts get their final names.

It is opened and checked once; every later step goes through its descriptor, so ``os.chdir`` and
renames do no harm. If others may rename and remove files in the named directory (a Kubernetes
``emptyDir`` has mode 0777 and no sticky bit), it is a private directory inside that one.
"""

import contextlib
import errno
import os
import shlex
import stat
from pathlib import Path
from typing import Final

from gencore._private_directory import (
    DIRECTORY,
    NEW_FILE,
    empty,
    enter,
    leads_to,
    names_in,
    place_of,
    sweep,
)
from gencore._runtime.application_errors import ignored, reraise_if_from_handler
from gencore._runtime.os_thread import open_descriptor
from gencore.errors import OutputError, Refused
from gencore.report import Removal

__all__ = ["OWN_DIRECTORIES", "FinalDirectory", "refusal", "sync"]

OWN_DIRECTORIES: Final = "gencore-*"
"""The names of our directories inside those that others may write to; * is the user's id."""
_TRIES: Final = 100
"""How often to try to enter our own directory: other dumps remove it when they leave it empty."""
_LEFT: Final = "left by a dump that was killed"
_CANNOT: Final = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
"""The errors of a file system, or of a seccomp filter, that does not support the call."""


class FinalDirectory:
    """Made for one dump. Raises `OutputError` and `Refused`, having left nothing behind."""

    def __init__(self, named: Path) -> None:
        self._named = named
        self._named_fd = self.fd = _open(named)
        self._own: str | None = None
        try:
            if _others_may_rename(self.fd):
                self._own = OWN_DIRECTORIES.replace("*", str(os.geteuid()))
                self.fd = self._enter(self._own)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """Where it is now: anyone who can write to its parent may have renamed it."""
        return place_of(self._named / (self._own or ""), self.fd)

    @property
    def names(self) -> list[str]:
        """The names in it."""
        return names_in(self.fd)

    @property
    def free(self) -> int | None:
        """Bytes that this user can still write there; None if the file system does not say."""
        try:
            space = os.fstatvfs(self.fd)
        except OSError as error:
            reraise_if_from_handler(error)
            return None
        return space.f_bavail * space.f_frsize if space.f_blocks else None

    def sweep(self) -> list[Removal]:
        """Remove the private directories of dead makers; return what it was. Raises OSError."""
        return [
            Removal(path=self.path / found.name, size=found.size, reason=_LEFT, error=error)
            for found, error in sweep(self.fd)
        ]

    def make(self, name: str) -> int | None:
        """Make a directory in it, for this user alone; return its descriptor, which is locked.

        None if somebody has taken it away before it was. Raises OSError.
        """
        self._mkdir(name)
        return enter(name, self.fd)

    def remove(self, name: str, fd: int | None) -> None:
        """Remove a directory made by `make` with its contents, even if it was renamed since.

        *fd* is its descriptor, or None if it was never opened. Raises OSError.
        """
        if fd is None:
            with ignored(OSError):  # it may be anybody's
                os.rmdir(name, dir_fd=self.fd)
            return
        empty(fd)
        for _ in range(_TRIES):
            now = self._name_now(name, fd)
            if now is None or self._is_removed(now, fd):
                return

    def _is_removed(self, name: str, fd: int) -> bool:
        """Remove it; return False if somebody has renamed it meanwhile. Raises OSError."""
        try:
            os.rmdir(name, dir_fd=self.fd)
        except OSError:
            if leads_to(name, fd, self.fd):
                raise
            return False
        return True

    def _name_now(self, name: str, fd: int) -> str | None:
        """Return the name of a private directory, which others may have changed."""
        names = (name, *self.names)
        return next((now for now in names if leads_to(now, fd, self.fd)), None)

    def take(self, source: str, source_fd: int, name: str) -> bool:
        """Move a file here without replacing one; return whether the move is synced to disk.

        Raises OSError, having left nothing here.
        """
        _move(source, source_fd, name, self.fd)
        with ignored(OSError):
            return sync(self.fd)
        return False

    def close(self) -> None:
        """Close it; a directory of our own is removed if it is empty. May be called twice."""
        named_fd, self._named_fd = self._named_fd, -1
        if named_fd < 0:
            return
        if self._own is not None and leads_to(self._own, self.fd, named_fd):
            with ignored(OSError):  # not empty
                os.rmdir(self._own, dir_fd=named_fd)
        for fd in {self.fd, named_fd}:
            os.close(fd)

    def _mkdir(self, name: str) -> None:
        for _ in range(_TRIES):
            try:
                return os.mkdir(name, mode=0o700, dir_fd=self.fd)
            except FileNotFoundError:  # another dump has removed our own directory
                if self._own is None:
                    raise
                again = self._enter(self._own)
                os.close(self.fd)
                self.fd = again
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _enter(self, own: str) -> int:
        """Open the directory of our own, created if missing. Raises `Refused`."""
        path = self._named / own
        try:
            fd = _make_and_open(own, self._named_fd)
        except OSError as error:
            why = refusal(path, error)
            taken = error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EACCES}
            raise (self._not_ours(path, why.message) if taken else why) from error
        try:
            self._check_own(path, os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _check_own(self, path: Path, status: os.stat_result) -> None:
        if status.st_uid != os.geteuid():
            raise self._not_ours(path, f"{path}: belongs to another user (uid {status.st_uid})")
        if status.st_mode & 0o077:
            raise Refused(
                f"{path}: accessible to others (mode {stat.S_IMODE(status.st_mode):04o})",
                remedy=f"chmod 700 {shlex.quote(str(path))}",
            )

    def _not_ours(self, path: Path, why: str) -> Refused:
        """Refuse what another user may have put in the place of our own directory."""
        other = shlex.quote(f"{self._named}/dumps-of-{os.geteuid()}")
        return Refused(
            f"{why}; dumps would go there, because anyone can rename files in {path.parent}",
            remedy=f"mkdir -m 700 {other}, and use that directory",
        )


def sync(fd: int) -> bool:
    """Wait until a file or directory is on the disk; return whether the file system supports that.

    Raises OSError if data was lost.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True


def refusal(path: Path, error: OSError, kept: Path | None = None) -> OutputError:
    """Return an error that says what is wrong with *path*, and what to do about it.

    *kept* is where its finished contents are.
    """
    reraise_if_from_handler(error)
    code = error.errno or errno.EIO
    if code in {errno.ELOOP, errno.ENOTDIR} and path.is_symlink():
        return OutputError(
            str(path),
            errno.ELOOP,
            "is a symbolic link",
            remedy=f"use the directory itself: {os.path.realpath(path)}",
        )
    what, remedy = _EXPLANATIONS.get(code, (os.strerror(code), None))
    if kept is not None:
        what = f"{what}; the finished file is kept: {kept}"
        remedy = shlex.join(["mv", "-n", str(kept), str(path.with_name(f"kept.{path.name}"))])
    return OutputError(str(path), code, what, remedy=remedy)


_EXPLANATIONS: Final = {
    errno.ENOENT: ("does not exist", "create the directory, or choose another one"),
    errno.ENOTDIR: ("is not a directory", "choose a directory"),
    errno.EACCES: ("not writable by this user", "choose a directory that this user can write to"),
    errno.EPERM: ("not writable by this user", "choose a directory that this user can write to"),
    errno.EROFS: ("is on a read-only file system", "choose a directory that can be written to"),
    errno.ENOSPC: ("no space left on the device", "free some space, or choose another directory"),
    errno.EDQUOT: ("disk quota exceeded", "free some space, or choose another directory"),
    errno.EEXIST: ("already exists", "choose another directory"),
    errno.EFBIG: (
        "exceeds the maximum file size",
        "raise the process's limit: ulimit -Sf unlimited; or use a file system for larger files",
    ),
    errno.EMFILE: ("no free descriptors", "raise the limit on open files: ulimit -n 4096"),
}


def _open(path: Path) -> int:
    try:
        return open_descriptor(path, DIRECTORY)
    except OSError as error:
        raise refusal(path, error) from error


def _make_and_open(name: str, dir_fd: int) -> int:
    """Open a directory, created for this user alone if missing."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, mode=0o700, dir_fd=dir_fd)
        with contextlib.suppress(FileNotFoundError):  # another dump has removed it
            return open_descriptor(name, DIRECTORY, dir_fd=dir_fd)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _others_may_rename(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _move(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Move a file to a new name without replacing one, which rename(2) cannot do.

    If hard links are refused (FAT, some FUSE and network file systems, security modules), an
    empty file of that name is created exclusively, and the real one renamed over it.
    """
    try:
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        os.close(open_descriptor(target, os.O_RDWR | NEW_FILE, 0o600, dir_fd=target_fd))
        try:
            os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
        except BaseException:
            with contextlib.suppress(OSError):  # others may have removed it
                os.unlink(target, dir_fd=target_fd)
            raise
    else:
        with contextlib.suppress(OSError):  # it goes with its directory
            os.unlink(source, dir_fd=source_fd)
