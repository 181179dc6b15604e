"""A clone of an unarmed process: taken with ptrace(2), read at leisure, ended without a trace."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from gencore import CoreFailed, CoreStream, DumpRequest, MappedFile, Snapshot, ThreadRecord
from gencore.memory_map import read_memory_map
from gencore.runtime import Lock, ignored, reraise_if_from_handler
from gencore_backends.linux import _native
from gencore_backends.linux.outside_core import OutsideCore, read_at
from gencore_backends.linux.outside_map import Mapping as MemoryMapping
from gencore_backends.linux.outside_map import read_mappings
from gencore_backends.linux.outside_notes import Process, TracedThread, make_notes
from gencore_backends.linux.outside_pages import Pages
from gencore_backends.linux.outside_segments import Chooser, choose_segments
from gencore_backends.linux.proc import mapped_files
from gencore_backends.linux.process_access import thread_name
from gencore_backends.linux.ptrace_access import CloneAccess
from gencore_backends.linux.ptrace_guard import Guard
from gencore_backends.linux.snapshot import STOP_TIMEOUT_MS

if TYPE_CHECKING:
    from gencore_backends.linux._native import Trace

__all__ = ["PtraceSnapshot"]

_REMEDIES: Final = {
    "attach": "run it as root, in a container with --cap-add SYS_PTRACE",
    "clone": "raise the limit on processes (ulimit -u, pids.max), or give the process more memory",
}
_Registers = Literal["exact", "partial", "missing"]


class PtraceSnapshot(Snapshot):
    """A clone that stands before its first instruction, and the threads of its parent.

    Raises `CoreFailed`.
    """

    def __init__(self, request: DumpRequest) -> None:
        self._request = request
        self._target = request.target
        self._clone = _Clone(request)
        self.phases = self._clone.phases
        self._core: OutsideCore | None = None
        self._opened: list[int | Pages] = []
        self._gaps: dict[str, str] = {}

    @property
    def pause(self) -> float | None:
        """What was measured where the process stood still."""
        return sum(self.phases.values())

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, the main one first, with its current name."""
        return tuple(
            ThreadRecord(
                tid=thread.tid,
                name=thread_name(thread.tid, self._target),
                registers=thread.quality,  # type: ignore[arg-type]  # one of the three words
                reason=thread.reason,
            )
            for thread in self._clone.threads
        )

    def core(self) -> CoreStream:
        """Choose the memory, and return the core. Raises `CoreFailed`."""
        try:
            self._core = self._make_core()
        except OSError as error:
            reraise_if_from_handler(error)
            detail = f"{error.filename or 'the clone'}: {self._clone.why_ended() or 'unreadable'}"
            raise CoreFailed("read-maps", error.errno or 0, detail) from error
        return self._core

    def _make_core(self) -> OutsideCore:
        clone = self._clone.pid
        access = CloneAccess(self._target, clone)
        memory = access.open_memory()
        self._opened.append(memory)
        pages = Pages(clone)
        self._opened.append(pages)
        mappings = read_mappings(clone)
        self._gaps = _gaps(self._target.pid, mappings, self._clone.unlisted)
        chooser = Chooser(
            clone=clone,
            target=self._target,
            pages=pages,
            read=lambda address, size: read_at(memory, address, size),
            full=self._request.content == "full",
            with_dontdump=self._request.with_dontdump,
        )
        process = Process.read(self._target.pid, clone)
        notes = make_notes(process, self._clone.threads, mappings, self.phases["stop"])
        segments = choose_segments(chooser, mappings)
        return OutsideCore(memory, pages, segments, notes, self._clone.why_ended)

    @property
    def written(self) -> int:
        """Bytes that were read so far."""
        return 0 if self._core is None else self._core.read

    @property
    def gaps(self) -> Mapping[str, str]:
        """Memory that a clone does not inherit, and threads that were not found."""
        return self._gaps

    def mapped_files(self) -> tuple[MappedFile, ...]:
        """Read the memory map of the clone."""
        return mapped_files(CloneAccess(self._target, self._clone.pid), self._clone.pid)

    def abort(self) -> None:
        """End the reading at its next megabyte."""
        if self._core is not None:
            self._core.abort()

    def close(self) -> None:
        """End the clone, and let its parent forget it."""
        for opened in self._opened:
            if isinstance(opened, Pages):
                opened.close()
            else:
                os.close(opened)
        self._opened.clear()
        self._clone.close()


class _Clone:
    """Owns the clone, through the thread of the native part that holds it."""

    def __init__(self, request: DumpRequest) -> None:
        self._taken: list[Trace] = []
        self._lock = Lock()
        self._parent = os.getpid()
        self._guard = Guard(request.target.pid)
        try:
            _native.trace(
                request.target.pid, request.threads == "signal", STOP_TIMEOUT_MS, self._taken
            )
        except OSError as error:
            self._guard.dismiss()
            reraise_if_from_handler(error)
            step = str(error.filename)
            raise CoreFailed(step, error.errno or 0, remedy=_REMEDIES.get(step)) from error
        self.pid, _, _, self.phases, rows, self.unlisted = self._taken[0]
        threads = [TracedThread(tid, q, why, tuple(sets)) for tid, q, why, sets in rows]
        self.threads = tuple(sorted(threads, key=lambda t: t.tid != request.target.pid))

    def why_ended(self) -> str | None:
        """Return why it cannot be read any more; None if it can."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            state = b"X"
        return "the clone was killed (out of memory?)" if state in b"ZX" else None

    def close(self) -> None:
        """End it, and wait until it is gone."""
        with self._lock:
            taken, self._taken = self._taken, []
        for _, control, done, *_ in taken:
            if self._parent == os.getpid():
                os.write(control, b"\0")
                with ignored(OSError):
                    os.read(done, 1)
            os.close(control)
            os.close(done)
            self._guard.dismiss()

    def __del__(self) -> None:
        """Close it if that was not done, such as after Ctrl-C."""
        if vars(self).get("_taken"):
            self.close()


def _gaps(pid: int, mappings: tuple[MemoryMapping, ...], unlisted: int) -> dict[str, str]:
    """Return what the core should hold and does not: part and reason."""
    gaps = {}
    wiped = [m for m in mappings if b"wf" in m.flags]
    lost = _not_inherited(pid, mappings)
    for part, rows, what in (
        ("MADV_DONTFORK memory", lost, "a clone does not inherit"),
        ("MADV_WIPEONFORK memory", wiped, "are zeros in a clone"),
    ):
        size = sum(m.row.end - m.row.start for m in rows)
        if rows:
            gaps[part] = f"{size:,} bytes in {len(rows):,} mappings, which {what}; see madvise(2)"
    if unlisted:
        gaps["threads"] = f"the kernel counts {unlisted:,} more threads than were found"
    return gaps


def _not_inherited(pid: int, mappings: tuple[MemoryMapping, ...]) -> list[MemoryMapping]:
    """Return the mappings that only the process has, and are marked so.

    Its pages are walked only if it has some that the clone has not: most of those are newer.
    """
    inherited = {(m.row.start, m.row.end) for m in mappings}
    try:
        rows = read_memory_map(pid)
        if all((row.start, row.end) in inherited for row in rows):
            return []
        own = read_mappings(pid)
    except OSError as error:  # it has ended
        if error.errno not in {errno.ENOENT, errno.ESRCH, errno.EACCES}:
            raise
        return []
    return [m for m in own if b"dc" in m.flags and m.resident and not m.device_memory]
