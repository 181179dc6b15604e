"""The private directory in which a dump is made, and its publication under final names.

Everything is created below a directory of mode 0700 with a random name, inside the directory that
the caller named, with mode 0600 from the first byte. A file gets its final name only when it is
whole: written, synced, then linked without ever replacing anything. Paths are resolved once; every
later step goes through the two directory descriptors, so ``os.chdir`` and renames do no harm.
"""

import contextlib
import errno
import hashlib
import io
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, Final, Self

from gencore.errors import OutputError, Refused
from gencore.report import Artifact

__all__ = ["ArtifactWriter", "Output"]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE_BACK: Final = 8 << 20
"""Bytes that an artefact grows by until they are sent to the disk."""
_NO_HARD_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Output(contextlib.AbstractContextManager["Output"]):
    """One dump's private directory. Leaving the context removes it with all that is left in it.

    It is made by `prepare`, or at its first use: a dump that makes no file needs no directory. In
    a process that is forked meanwhile it is the parent's: closing it there removes nothing.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() follows symlinks
        self._private_name = f".{name}.{secrets.token_hex(8)}.part"
        self._closed = False
        self._made = False
        self._owner = os.getpid()
        # Not cached_property: until Python 3.12 that is locked for all objects at once, and in a
        # forked child for ever.
        self._fd: int | None = None
        self._parent: int | None = None

    def prepare(self) -> Self:
        """Check the directory and make the private one in it, now.

        Raises `OutputError` and `Refused`, having left nothing behind.
        """
        self.fd  # noqa: B018 - made by its first use
        return self

    @property
    def fd(self) -> int:
        """A descriptor of the private directory. Raises as `prepare` does."""
        if self._fd is None:
            self._fd = self._make()
        return self._fd

    def _make(self) -> int:
        if self._closed:  # a collector that was left behind must not get another file's descriptor
            raise ValueError(f"dump {self.name} has ended")
        try:
            self._made = True  # before it is: Ctrl-C may come in between
            os.mkdir(self._private_name, mode=0o700, dir_fd=self._parent_fd)
            try:
                return os.open(self._private_name, _DIRECTORY, dir_fd=self._parent_fd)
            except OSError:
                os.rmdir(self._private_name, dir_fd=self._parent_fd)
                raise
        except OSError as error:
            raise _refusal(self.directory, error) from error

    @property
    def _parent_fd(self) -> int:
        if self._parent is None:
            self._parent = _open_directory(self.directory)
        return self._parent

    @property
    def path(self) -> Path:
        """The private directory. Use `fd` where possible: a path can be renamed under you."""
        return self.prepare().directory / self._private_name

    def rival(self) -> str | None:
        """Return a file of the directory that has the name of this dump already, if there is."""
        names = os.listdir(self._parent_fd)
        return next((name for name in names if name.startswith(f"{self.name}.")), None)

    @property
    def free(self) -> int:
        """Bytes that this user can still write there."""
        space = os.fstatvfs(self._parent_fd)
        return space.f_bavail * space.f_frsize

    def create(self, name: str) -> "ArtifactWriter":
        """Create the file *name* in the private directory, for an artefact of that name."""
        return ArtifactWriter(name, io.BufferedWriter(io.FileIO(self.new_file(name), "wb")))

    def new_file(self, name: str) -> int:
        """Create a file in the private directory; return its descriptor. Raises OSError."""
        return os.open(name, _NEW_FILE, 0o600, dir_fd=self.fd)

    def open(self, name: str) -> io.FileIO:
        """Open the file *name* in the private directory for reading."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return io.FileIO(os.open(name, flags, dir_fd=self.fd), "rb")

    def rename(self, old: str, new: str) -> None:
        """Rename a file within the private directory."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def publish(self, artifact: Artifact) -> Path:
        """Sync the file ``artifact.name`` and give it its final name. Never replaces a file."""
        final = f"{self.name}.{artifact.name}"
        try:
            self._sync(artifact.name)
            _link(artifact.name, self.fd, final, self._parent_fd)
            os.fsync(self._parent_fd)
        except OSError as error:
            raise _refusal(self.directory / final, error) from error
        return self.directory / final

    def _sync(self, name: str) -> None:
        with self.open(name) as file:
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())

    def __exit__(self, *_: object) -> None:
        """Close the output."""
        self.close()

    def close(self) -> None:
        """Remove the private directory with all that is left in it."""
        if self._closed:
            return
        self._closed = True
        fd, parent_fd = self._fd, self._parent
        self._fd = self._parent = None
        try:
            if self._made and parent_fd is not None and self._owner == os.getpid():
                with contextlib.suppress(FileNotFoundError):
                    _remove_tree(self._private_name, parent_fd)
        finally:
            for descriptor in (fd, parent_fd):
                if descriptor is not None:
                    os.close(descriptor)

    def __del__(self) -> None:
        """Close it where nobody could: Ctrl-C may come before the output is anybody's."""
        if "_parent" in vars(self):
            self.close()


class ArtifactWriter(io.BufferedIOBase):
    """A file in the private directory that measures and hashes what is written to it."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0
        self._sent = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]  # bytes-like is enough here
        """Write *data* and return its length in bytes."""
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)
        if self._size - self._sent >= _WRITE_BACK:
            self._send_to_disk()
        return len(data)

    def _send_to_disk(self) -> None:
        """Begin to write back, without waiting: the sync at the end then has little left to do.

        It also keeps a large artefact from pushing the service's own files out of memory.
        """
        if hasattr(os, "posix_fadvise"):
            fd, length = self._file.fileno(), self._size - self._sent
            os.posix_fadvise(fd, self._sent, length, os.POSIX_FADV_DONTNEED)
        self._sent = self._size

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()
        super().close()

    def artifact(self) -> Artifact:
        """Close the file and describe it."""
        self.close()
        return Artifact(name=self._name, size=self._size, sha256=self._digest.hexdigest())


def _open_directory(directory: Path) -> int:
    try:
        fd = os.open(directory, _DIRECTORY)
    except OSError as error:
        raise _refusal(directory, error) from error
    mode = os.fstat(fd).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        os.close(fd)
        raise Refused(
            f"{directory}: anybody may rename or remove files in this directory",
            remedy=f"chmod o-w {directory}, or set its sticky bit, or name another directory",
        )
    return fd


def _refusal(path: Path, error: OSError) -> OutputError:
    code = error.errno or errno.EIO
    if code in {errno.ELOOP, errno.ENOTDIR} and path.is_symlink():
        return OutputError(
            str(path),
            errno.ELOOP,
            "is a symbolic link",
            remedy=f"name the directory itself: {os.path.realpath(path)}",
        )
    what, remedy = _EXPLANATIONS.get(code, (os.strerror(code), None))
    return OutputError(str(path), code, what, remedy=remedy)


_EXPLANATIONS: Final = {
    errno.ENOENT: ("does not exist", "create the directory, or name another one"),
    errno.ENOTDIR: ("is not a directory", "name a directory"),
    errno.EACCES: ("this user may not write here", "name a directory that this user may write to"),
    errno.EPERM: ("this user may not write here", "name a directory that this user may write to"),
    errno.EROFS: ("is on a read-only file system", "name a directory on a writable file system"),
    errno.ENOSPC: ("no space is left on the device", "free some space, or name another directory"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or name another directory"),
    errno.EEXIST: ("exists already", "name another directory"),
    errno.EMFILE: ("no descriptor is free", "raise the limit on open files: ulimit -n 4096"),
}


def _link(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Move a file to a new name without replacing, as rename cannot.

    A file system without hard links (FAT, some FUSE and network ones) gets an empty file of that
    name first, made exclusively, and then the rename over it.
    """
    try:
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        os.close(os.open(target, _NEW_FILE, 0o600, dir_fd=target_fd))
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    else:
        os.unlink(source, dir_fd=source_fd)


def _remove_tree(name: str, parent_fd: int) -> None:
    fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    try:
        for entry in list(os.scandir(fd)):
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(entry.name, fd)
            else:
                os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent_fd)
