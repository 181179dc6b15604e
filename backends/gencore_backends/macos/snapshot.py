"""A forked child that aborts, and macOS's core of it, found through ``kern.corefile``.

The core is read once it is complete, not while it grows: the kernel writes the header last.
"""

import contextlib
import errno
import os
import stat
import time
from typing import Final

from gencore import CoreFailed, CoreStream, DumpRequest, MappedFile, Snapshot, ThreadRecord
from gencore.core_stream import CHUNK_SIZE
from gencore.output import Output
from gencore_backends.macos.child import Child
from gencore_backends.macos.core_pattern import CorePattern
from gencore_backends.macos.dyld import mapped_files
from gencore_backends.macos.macho_core import MachCore
from gencore_backends.macos.preflight import signing_remedy

__all__ = ["AbortSnapshot"]

_CORE: Final = "core"
_NOT_COPIED: Final = (
    "fork(2) copies only the calling thread: the core has this one's stack, not its registers"
)
_REMEDIES: Final = {
    "fork": "raise the limit on processes (ulimit -u), or give the process more memory",
    "pipe": "raise the limit on open files (ulimit -n)",
}


class AbortSnapshot(Snapshot):
    """A child that enters *output* and aborts there. Raises `CoreFailed`."""

    def __init__(self, request: DumpRequest, output: Output) -> None:
        from gencore_backends.macos import _native

        self._output = output
        self._began = int(time.time())  # file systems may keep whole seconds
        begin = time.perf_counter()
        try:
            pattern = CorePattern.read()
            self._threads = _native.threads()
            listed = time.perf_counter()
            pid, status_fd = _native.snapshot(output.fd, request.excluded)
        except OSError as error:
            step = str(error.filename)
            raise CoreFailed(step, error.errno or 0, remedy=_REMEDIES.get(step)) from error
        self.phases = {"list": listed - begin, "fork": time.perf_counter() - listed}
        self._child = Child(pid, status_fd)
        self._place = output.path / pattern.path(pid)

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant; the core has the registers of the first."""
        (tid, name), *others = self._threads
        return (
            ThreadRecord(tid=tid, name=name, registers="exact"),
            *(
                ThreadRecord(tid=tid, name=name, registers="missing", reason=_NOT_COPIED)
                for tid, name in others
            ),
        )

    def core(self) -> CoreStream:
        """Wait for the child's end, and take its core from where ``kern.corefile`` sent it."""
        self._await_core()
        if not self._is_there():
            raise CoreFailed("find-core", detail=f"macOS wrote a core, but not to {self._place}")
        try:
            space = os.statvfs(self._place.parent)
            self._take()
        except OSError as error:
            raise CoreFailed("take-core", error.errno or 0, str(self._place)) from error
        return MachCore(self._output, _CORE, space.f_bavail * space.f_frsize)

    def abort(self) -> None:
        """Kill the child, which ends waiting for it and copying its core."""
        self._child.kill()

    def close(self) -> None:
        """Reap the child, and remove its core if it was not taken."""
        self._child.close()
        if self._is_there():
            with contextlib.suppress(OSError):
                self._place.unlink()

    @property
    def written(self) -> int:
        """Bytes on disk of the core, while macOS writes it."""
        with contextlib.suppress(OSError):
            return self._place.lstat().st_blocks * 512
        return 0

    def mapped_files(self) -> tuple[MappedFile, ...]:
        """Ask dyld, a moment after the instant."""
        return mapped_files()

    def _await_core(self) -> None:
        """Wait for the child's end. Raises `CoreFailed` unless macOS reports a written core."""
        status = self._child.wait()
        failure = self._child.failure()
        if failure is not None:
            raise CoreFailed(*failure)
        if not os.WCOREDUMP(status):
            ending = os.waitstatus_to_exitcode(status)
            raise CoreFailed(
                "kernel-dump",
                detail=f"macOS wrote no core (the child ended with {ending}): the disk is full, "
                f"{self._place.parent} refused it, or the interpreter's signature forbids it",
                remedy=f"see docs/explanation/macos.md; for the signature: {signing_remedy()}",
            )

    def _is_there(self) -> bool:
        """Whether this child's core exists: an older core may have the same name."""
        try:
            found = self._place.lstat()
        except OSError:
            return False
        mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        return mine and found.st_ctime >= self._began

    def _take(self) -> None:
        """Move the core into the private directory, as ``core``. Raises OSError, `CoreFailed`."""
        try:
            os.rename(self._place, _CORE, dst_dir_fd=self._output.fd)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy()
            self._place.unlink()

    def _copy(self) -> None:
        source = os.open(self._place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with (
            os.fdopen(source, "rb", buffering=0) as reader,
            os.fdopen(self._output.new_file(_CORE), "wb") as writer,
        ):
            while chunk := reader.read(CHUNK_SIZE):
                self._child.check()
                writer.write(chunk)
