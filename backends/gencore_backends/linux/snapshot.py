"""What both Linux backends do with a clone: own it, list its threads, end it."""

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from gencore import CoreFailed, MappedFile, Snapshot, ThreadRecord
from gencore.runtime import reraise_if_from_handler
from gencore_backends.linux.child import Child
from gencore_backends.linux.proc import mapped_files, thread_name

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["STOP_TIMEOUT_MS", "LinuxSnapshot"]

STOP_TIMEOUT_MS: Final = 250
"""How long to wait for threads to stop. Most stop within microseconds."""

_REMEDIES: Final = {
    "clone": "raise the limit on processes (ulimit -u, pids.max), or give the process more memory",
    "pipe": "raise the limit on open files (ulimit -n)",
    "prepare-threads": "free some memory or a real-time signal, or pass threads='caller'",
    "stop-threads": "free some memory or a real-time signal, or pass threads='caller'",
}


class LinuxSnapshot(Snapshot):
    """A clone of this process, and its threads at the instant: (tid, registers, reason)."""

    def __init__(self, take: "Callable[[list[_native.Snapshot]], None]") -> None:
        """Take it, with one of the native functions. Raises `CoreFailed`."""
        taken: list[_native.Snapshot] = []
        self._child = Child(taken)
        try:
            _take(take, taken)
            *_, self.phases, self._threads, self._unlisted = taken[0]
        except BaseException:  # who keeps the exception keeps this frame
            self._child.close()
            raise

    def pause_ended(self) -> None:
        """Let the child begin."""
        self._child.go_on()

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, with its current name."""
        return tuple(
            ThreadRecord(tid=tid, name=thread_name(tid), registers=registers, reason=reason)  # type: ignore[arg-type]  # the native part knows the three words
            for tid, registers, reason in self._threads
        )

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

    def mapped_files(self) -> tuple[MappedFile, ...]:
        """Read /proc/thread-self/maps, a moment after the instant."""
        return mapped_files(self._child.pid)


def _take(
    take: "Callable[[list[_native.Snapshot]], None]", taken: "list[_native.Snapshot]"
) -> None:
    try:
        take(taken)
    except OSError as error:
        reraise_if_from_handler(error)
        step = str(error.filename)
        raise CoreFailed(step, error.errno or 0, remedy=_remedy(step, error)) from error


def _remedy(step: str, error: OSError) -> str | None:
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return _REMEDIES["pipe"]
    return _REMEDIES.get(step)
