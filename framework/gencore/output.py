"""The private directory in which a dump is made, and its publication under final names.

Everything is created below a directory of mode 0700 with a random name, inside the output
directory, with mode 0600 from the first byte. A file gets its final name only once it is
complete: written, synced, then linked without ever replacing anything. Paths are resolved once;
every later step uses directory descriptors, so ``os.chdir`` and renames do no harm.
"""

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self
from weakref import WeakKeyDictionary

from gencore._final_directory import FinalDirectory, refusal, sync
from gencore._hash_beside import HashBeside
from gencore._private_directory import NEW_FILE, empty, keep, names_in, place_of, private_name
from gencore._runtime.os_thread import open_descriptor
from gencore._runtime.regular_file import open_regular
from gencore._sparse_file import SparseFile
from gencore.errors import OutputError, Refused
from gencore.report import Artifact, Removal

__all__ = ["ArtifactWriter", "Output", "sync"]

_Identity = tuple[int, int]
"""Device and inode."""
_TRIES: Final = 100
"""How often to try to make the private directory: others may take away each new one."""
_WRITE_BACK: Final = 8 << 20
"""Bytes that an artefact grows by until they are sent to the disk."""


class Output(contextlib.AbstractContextManager["Output"]):
    """One dump's private directory. Leaving the context removes it with its remaining contents.

    It is created by `prepare`, or on first use: a dump that writes no file needs no directory. It
    belongs to the process that created it: closing it in a forked child removes nothing.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.warnings: list[str] = []
        """What the file system could not do for artefacts that were published all the same."""
        self._named = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() follows symlinks
        self._private_name = ""
        self._writers: WeakKeyDictionary[ArtifactWriter, _Identity] = WeakKeyDictionary()
        self._kept: set[str] = set()
        self._closed = False
        self._made = False
        self._owner = os.getpid()
        # Not cached_property: until Python 3.12 that is locked for all objects at once, and in a
        # forked child for ever.
        self._fd: int | None = None
        self._opened: FinalDirectory | None = None

    def prepare(self) -> Self:
        """Check the directory and create the private one in it, now.

        Raises `OutputError` and `Refused`, having left nothing behind.
        """
        self.fd  # noqa: B018 - made by its first use
        return self

    @property
    def directory(self) -> Path:
        """Where the artefacts go: the named directory, or one of our own inside it.

        The latter if others may rename and remove files in the named one; known on first use.
        """
        return self._named if self._opened is None else self._opened.path

    @property
    def fd(self) -> int:
        """A descriptor of the private directory. Raises as `prepare` does."""
        if self._fd is None:
            self._fd = self._make()
        return self._fd

    def _make(self) -> int:
        if self._closed:  # a collector that was left behind must not get another file's descriptor
            raise ValueError(f"dump {self.name} has ended")
        final = self._final
        try:
            for _ in range(_TRIES):
                self._private_name = private_name(self.name, final.fd)
                self._made = True  # before it is: Ctrl-C may come in between
                fd = final.make(self._private_name)
                if fd is not None:
                    return fd
        except OSError as error:
            raise refusal(final.path, error) from error
        self._made = False
        raise Refused(
            f"{final.path}: another user replaces every directory that is made in it",
            remedy="choose a directory that others cannot write to",
        )

    @property
    def _final(self) -> FinalDirectory:
        if self._opened is None:
            self._opened = FinalDirectory(self._named)
        return self._opened

    @property
    def path(self) -> Path:
        """The private directory. Use `fd` where possible: a path can be renamed under you."""
        return place_of(self.prepare().directory / self._private_name, self.fd)

    def refuse_rival(self) -> None:
        """Raise `OutputError` if a file in the directory already has this dump's name."""
        names = (name for name in self._final.names if name.startswith(f"{self.name}."))
        rival = next(names, None)
        if rival is not None:
            raise OutputError(
                str(self.directory / rival),
                errno.EEXIST,
                f"file exists, and the dump would be named {self.name} too",
                remedy="put {id} or {time} and {seq} into the name: no file is ever replaced",
            )

    def sweep(self) -> list[Removal]:
        """Remove what dumps that were killed have left in the directory; return what it was.

        What other dumps are using stays, as does all that is not of our making. Raises
        `OutputError` and `Refused` if the directory cannot be used.
        """
        try:
            return self._final.sweep()
        except OSError as error:
            raise refusal(self.directory, error) from error

    @property
    def free(self) -> int | None:
        """Bytes that this user can still write there; None if the file system does not say."""
        return self._final.free

    def create(self, name: str, *, hashed: bool = True) -> "ArtifactWriter":
        """Create the file *name* in the private directory, for an artefact of that name.

        It need not be *hashed* where the framework hashes what it sends to a destination.
        """
        fd = self.new_file(name)
        try:
            file = io.BufferedWriter(SparseFile(fd, "wb"))
            identity = _identity(os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        target = str(self.directory / f"{self.name}.{name}")
        writer = ArtifactWriter(name, file, target, hashed=hashed)
        self._writers[writer] = identity
        return writer

    def check(self, writer: "ArtifactWriter") -> None:
        """Raise `ValueError` or OSError unless the file of *writer* is there, as written."""
        with self.open(writer.name) as file:
            found = os.fstat(file.fileno())
        written = (self._writers[writer], writer.size)
        if (_identity(found), found.st_size) != written:
            raise ValueError(f"{writer.name!r} was replaced or changed behind its writer")

    def new_file(self, name: str) -> int:
        """Create a file in the private directory; return its descriptor. Raises OSError."""
        return open_descriptor(name, os.O_RDWR | NEW_FILE, 0o600, dir_fd=self.fd)

    def open(self, name: str) -> io.FileIO:
        """Open the regular file *name* in the private directory for reading. Raises OSError."""
        return open_regular(name, flags=os.O_NOFOLLOW, dir_fd=self.fd)

    @property
    def names(self) -> list[str]:
        """The names in the private directory. Raises OSError."""
        return names_in(self.fd)

    def rename(self, old: str, new: str) -> bool:
        """Rename a file within the private directory; return True. Raises OSError."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        return True

    def remove(self, name: str) -> None:
        """Remove a file of the private directory. Raises OSError."""
        os.unlink(name, dir_fd=self.fd)

    def publish(self, artifact: Artifact) -> Path:
        """Sync the file ``artifact.name`` and give it its final name. Never replaces a file.

        Raises `OutputError`. If it was the name that could not be given, the file stays in the
        private directory, which is then not removed.
        """
        final = f"{self.name}.{artifact.name}"
        try:
            closed, synced = self._finish(artifact.name)
        except OSError as error:
            raise refusal(self.directory / final, error) from error
        try:
            named = self._final.take(artifact.name, self.fd, final)
        except OSError as error:
            raise self._keep(artifact.name, final, error) from error
        path = self.directory / final
        if not closed:
            self.warnings.append(f"{path}: readable by others: the file system stores no modes")
        if not (synced and named):
            self.warnings.append(f"{path}: not synced to disk, may be lost if the machine crashes")
        return path

    def _keep(self, name: str, final: str, error: OSError) -> OutputError:
        """Keep a finished file where it is; return the error that says so."""
        refused = refusal(self.directory / final, error, kept=self.path / name)
        with contextlib.suppress(OSError):  # then it is kept until a dump sweeps it
            keep(self.fd)
        self._kept.add(name)
        return refused

    def _finish(self, name: str) -> tuple[bool, bool]:
        """Return whether only the owner can now access the file, and whether it is on disk."""
        with self.open(name) as file:
            with contextlib.suppress(OSError):  # FAT and some FUSE file systems keep no modes
                os.fchmod(file.fileno(), 0o600)
            closed = not os.fstat(file.fileno()).st_mode & 0o077
            return closed, sync(file.fileno())

    def __exit__(self, *_: object) -> None:
        """Close the output."""
        self.close()

    def close(self) -> None:
        """Remove the private directory with its remaining contents, and close its files.

        Of one with finished files that could not be published, only the rest is removed.
        """
        if self._closed:
            return
        self._closed = True
        fd, final = self._fd, self._opened
        self._fd = self._opened = None
        try:
            if self._made and final is not None and self._owner == os.getpid():
                if self._kept and fd is not None:
                    empty(fd, self._kept)
                else:
                    final.remove(self._private_name, fd)
        finally:
            if fd is not None:
                os.close(fd)
            if final is not None:
                final.close()
            for writer in list(self._writers):
                with contextlib.suppress(OSError):
                    writer.close() if self._owner == os.getpid() else writer.abandon()

    def __del__(self) -> None:
        """Close it if nothing else could: Ctrl-C may arrive before the output has an owner."""
        if "_opened" in vars(self):
            self.close()


class ArtifactWriter(io.BufferedIOBase):
    """A file that measures and hashes what is written to it. Made by `DumpInProgress.create`."""

    def __init__(
        self,
        name: str,
        file: BinaryIO,
        target: str,
        *,
        hashed: bool = True,
        bound: bool = False,
    ) -> None:
        self.name = name
        """What the artefact is called behind the dump's own name."""
        self.bound = bound
        """Whether only the thread that has created it may write: another distribution's plug-in
        takes the bytes."""
        self.size = 0
        """Bytes written so far."""
        self._file = file
        self._target = target
        self._digest = hashlib.sha256() if hashed else None
        self._beside: HashBeside | None = None
        self._sent = 0
        self._faults: list[BaseException] = []

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]  # bytes-like is enough here
        """Write *data* and return its length in bytes. Raises `OutputError`."""
        chunk = memoryview(data).cast("B")  # len() of an array's view counts its items
        if self.closed:
            raise ValueError(f"artefact {self.name!r} is closed")
        with self._hashing(chunk):
            self._pass_on(self._file.write, chunk)
        self.size += chunk.nbytes
        if self.size - self._sent >= _WRITE_BACK:
            self._send_to_disk()
        return chunk.nbytes

    def hash_beside(self) -> None:
        """Hash what follows on a thread of its own while it is written: for large pieces."""
        if self._digest is not None and self._beside is None:
            self._beside = HashBeside(self._digest)

    def leave_holes(self) -> None:
        """Leave holes where there are 64 KiB of zeros, in a file of the output directory."""
        file = getattr(self._file, "raw", None)
        if isinstance(file, SparseFile):
            file.leaves_holes = True

    def room(self) -> memoryview | None:
        """Return where the next piece may be put, after `hash_beside`; None: anywhere.

        It is then hashed while the one after it is put, and not only while it is written.
        """
        return None if self._beside is None else self._beside.room()

    @contextlib.contextmanager
    def _hashing(self, chunk: memoryview) -> Iterator[None]:
        """Hash *chunk*, on the thread for that meanwhile."""
        if self._beside is not None:
            with self._beside.hashing(chunk):
                yield
            return
        try:
            yield
        finally:
            if self._digest is not None:
                self._digest.update(chunk)

    def _send_to_disk(self) -> None:
        """Start write-back without waiting, so that little is left for the sync at the end.

        It also keeps a large artefact from evicting the service's own files from the page cache.
        """
        if hasattr(os, "posix_fadvise"):
            length = self.size - self._sent
            with contextlib.suppress(OSError):  # no file, or a filter of system calls refuses it
                fd = self._file.fileno()
                os.posix_fadvise(fd, self._sent, length, os.POSIX_FADV_DONTNEED)
        self._sent = self.size

    @property
    def sha256(self) -> str | None:
        """Of the bytes written so far, in hexadecimal; None if they are not hashed."""
        if self._beside is not None:
            self._beside.finish()
        return None if self._digest is None else self._digest.hexdigest()

    def close(self) -> None:
        """Flush and close the file. Raises `OutputError`."""
        if self._beside is not None:
            self._beside.close()
            self._beside = None
        try:
            self._pass_on(self._file.close)
        finally:
            super().close()

    def abandon(self) -> None:
        """Close the file in a forked child, without what is buffered: the parent writes that."""
        raw = getattr(self._file, "raw", None)
        if isinstance(raw, io.FileIO):
            io.FileIO.close(raw)  # with no hole at its end, of which the parent may be beyond

    def _pass_on(self, function: Callable[..., object], *args: object) -> None:
        """Call the file; note an error, after which the artefact is not whole."""
        try:
            function(*args)
        except OSError as error:
            fault = refusal(Path(self._target), error)
            self._faults.append(fault)
            raise fault from error
        except BaseException as error:
            self._faults.append(error)
            raise

    def artifact(self) -> Artifact:
        """Close the file and describe it. Raises the first error of a write, whoever caught it."""
        self.close()
        if self._faults:
            raise self._faults[0]
        return Artifact(name=self.name, size=self.size, sha256=self.sha256)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
