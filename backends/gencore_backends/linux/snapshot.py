"""What the Linux backends do with a clone: own it, list its threads, end it."""

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from gencore import CoreFailed, MappedFile, Snapshot, ThreadRecord
from gencore.huge_pages import HugePages
from gencore.runtime import reraise_if_from_handler
from gencore.target import ProcessFacts
from gencore_backends.linux.child import Child
from gencore_backends.linux.proc import mapped_files
from gencore_backends.linux.process_access import THIS_PROCESS, ProcessAccess

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = [
    "STOP_TIMEOUT_MS",
    "LinuxSnapshot",
    "Origin",
    "clone_failed",
    "take_clone",
    "thread_records",
]

STOP_TIMEOUT_MS: Final = 250
"""How long to wait for threads to stop. Most stop within microseconds."""

_REMEDIES: Final = {
    "clone": "raise the limit on processes (ulimit -u, pids.max), or give the process more memory",
    "pipe": "raise the limit on open files (ulimit -n)",
    "prepare-threads": "free some memory or a real-time signal, or pass threads='caller'",
    "stop-threads": "free some memory or a real-time signal, or pass threads='caller'",
}


class Origin:
    """The process that was cloned: this one, unless a subclass says otherwise."""

    access: ProcessAccess = THIS_PROCESS
    excluded: tuple[tuple[int, int], ...] = ()
    facts: ProcessFacts | None = None
    huge_pages: HugePages | None = None

    def let_begin(self, child: Child) -> None:
        """Let the clone begin: the pause is over."""
        child.go_on()

    def close(self) -> None:
        """Release what leads to the process."""


class LinuxSnapshot(Snapshot):
    """A clone of a process, and its threads at the instant: (tid, registers, reason)."""

    def __init__(
        self, take: "Callable[[list[_native.Snapshot]], None]", origin: "Origin | None" = None
    ) -> None:
        """Take it, by what puts it into the list. Raises `CoreFailed`."""
        self._origin = origin or Origin()
        taken: list[_native.Snapshot] = []
        self._child = Child(taken)
        try:
            take_clone(take, taken)
            *_, self.phases, self._threads, self._unlisted = taken[0]
        except BaseException:  # who keeps the exception keeps this frame
            self._child.close()
            raise

    def pause_ended(self) -> None:
        """Let the child begin."""
        self._origin.let_begin(self._child)

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, with its current name."""
        return thread_records(self._threads, self._origin.access)

    @property
    def gaps(self) -> Mapping[str, str]:
        """Memory that a clone does not inherit, and threads that were not found."""
        if not self._unlisted:
            return self._child.gaps
        reason = f"the kernel counts {self._unlisted:,} more threads than were found"
        return {**self._child.gaps, "threads": reason}

    def abort(self) -> None:
        """Kill the child, which ends the writing of its core."""
        self._child.kill()

    def close(self) -> None:
        """Reap the child."""
        self._child.close()
        self._origin.close()

    @property
    def pause(self) -> float:
        """Seconds from the first thread stopped to the last one released."""
        return sum(self.phases.values())

    @property
    def excluded(self) -> tuple[tuple[int, int], ...]:
        """What another process keeps out of its cores."""
        return self._origin.excluded

    @property
    def facts(self) -> ProcessFacts | None:
        """What another process says of itself."""
        return self._origin.facts

    @property
    def huge_pages(self) -> HugePages | None:
        """What the process has collapsed for this dump."""
        return self._origin.huge_pages

    def mapped_files(self) -> tuple[MappedFile, ...]:
        """Read the memory map, a moment after the instant."""
        clone = self._child.pid if self._child.may_have_marked_files() else None
        return mapped_files(self._origin.access, clone)


def thread_records(
    rows: "Iterable[_native.Thread]", access: ProcessAccess
) -> tuple[ThreadRecord, ...]:
    """Return what the native part says of threads, with their current names."""
    return tuple(
        ThreadRecord(
            tid=tid,
            name=access.thread_name(tid),
            registers=registers,  # type: ignore[arg-type]  # one of the three words
            reason=reason,
        )
        for tid, registers, reason in rows
    )


def take_clone(
    take: "Callable[[list[_native.Snapshot]], None]", taken: "list[_native.Snapshot]"
) -> None:
    """Call what puts a clone into a list. Raises `CoreFailed`."""
    try:
        take(taken)
    except OSError as error:
        raise clone_failed(error) from error


def clone_failed(error: OSError) -> CoreFailed:
    """Return what the failure of the native part means. Raises what is none of it."""
    reraise_if_from_handler(error)
    step = str(error.filename)
    return CoreFailed(step, error.errno or 0, remedy=_remedy(step, error))


def _remedy(step: str, error: OSError) -> str | None:
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return _REMEDIES["pipe"]
    return _REMEDIES.get(step)
