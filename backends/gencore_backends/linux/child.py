"""The cloned child as its parent sees it: waited for through its pidfd, ended, reaped once."""

import contextlib
import os
import select
import signal
import threading
from typing import Final

import attrs

from gencore import CoreFailed
from gencore_backends.linux import _native

__all__ = ["Child"]

_WALL: Final = 0x40000000
"""__WALL of wait(2): a child without an exit signal is otherwise not waited for."""
_GAPS: Final = {
    "not-inherited": (
        "MADV_DONTFORK memory",
        "{:,} bytes in {:,} mappings, which a clone does not get; see madvise(2)",
    ),
    "wiped": (
        "MADV_WIPEONFORK memory",
        "{:,} bytes in {:,} mappings, which are zeros in a clone; see madvise(2)",
    ),
}
"""Part and reason, by what the child calls it."""


@attrs.frozen
class _Ending:
    """How the child ended: `code` and `status` as in waitid(2)."""

    code: int
    status: int


class Child:
    """Owns the child and the two descriptors that belong to it.

    Made before there is a child, with the list into which the native part puts it: whatever comes
    in between, such as Ctrl-C, nothing is left of it once this object is gone.
    """

    def __init__(self, taken: "list[_native.Snapshot]") -> None:
        self._taken = taken
        self._closed = False
        self._lock = threading.Lock()
        self._ending: _Ending | None = None
        self._failure: tuple[str, int] | None = None
        self._unreadable: list[str] = []
        self.gaps: dict[str, str] = {}
        """Memory that the core should have and a clone does not; complete once it has ended."""

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._taken[0][0]

    @property
    def _pidfd(self) -> int:
        return self._taken[0][1]

    @property
    def _status_fd(self) -> int:
        return self._taken[0][2]

    def go_on(self) -> None:
        """Tell the child that the pause is over. It waits for that, a second at most."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def ended(self, timeout: float | None) -> bool:
        """Wait *timeout* seconds for the child's end, or for ever. Return whether it has ended."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def promised_sizes(self) -> tuple[int, int]:
        """Wait until the child knows how long its core is. Raises `CoreFailed`.

        Returns the bytes of the whole core, and of the headers and notes at its beginning.
        """
        while (message := _native.read_message(self._status_fd)) is not None:
            if message[0] == "size":
                return message[1], message[2]
            self._note(message)
        raise self._error("write-core", self._wait())

    def wait_for_core(self) -> None:
        """Wait for the child's end. Raises `CoreFailed` unless the kernel dumped it."""
        ending = self._wait()
        if self._failure is not None or ending.code != os.CLD_DUMPED:
            raise self._error("kernel-dump", ending)

    def why_unfinished(self) -> str | None:
        """Wait for the child's end. Return why it did not finish, or None if it did."""
        ending = self._wait()
        if self._failure is None and (ending.code, ending.status) == (os.CLD_EXITED, 0):
            return None
        return str(self._error("write-core", ending))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the child could not read; complete once it has ended."""
        return tuple(f"{row} could not be read; the core lacks them" for row in self._unreadable)

    def kill(self) -> None:
        """End the child at once, if it still runs. From any thread."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._ending is None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End and reap the child, and close the descriptors."""
        if self._closed or not self._taken:
            return
        self._closed = True
        self.kill()
        with contextlib.suppress(ChildProcessError, CoreFailed):
            self._wait()
        os.close(self._pidfd)
        os.close(self._status_fd)

    def __del__(self) -> None:
        """Close it where nobody could."""
        if "_closed" in vars(self):
            self.close()

    def _wait(self) -> _Ending:
        """Take the child's last messages, wait for its end, and reap it."""
        if self._ending is None:
            while (message := _native.read_message(self._status_fd)) is not None:
                self._note(message)
            self.ended(None)
            with self._lock:
                info = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | _WALL)
                if info is None:
                    raise CoreFailed("wait", detail="the child was reaped by somebody else")
                self._ending = _Ending(info.si_code, info.si_status)
        return self._ending

    def _note(self, message: "_native.Message") -> None:
        match message:
            case ("failure", step, number):
                self._failure = step, number
            case ("unreadable", start, size):
                self._unreadable.append(f"memory at {start:#x}: {size:,} bytes")
            case ("more-unreadable", count, size):
                self._unreadable.append(f"{count:,} ranges more: {size:,} bytes")
            case ("not-inherited" | "wiped" as kind, count, size):
                part, reason = _GAPS[kind]
                self.gaps[part] = reason.format(size, count)

    def _error(self, step: str, ending: _Ending) -> CoreFailed:
        if self._failure is not None:
            return CoreFailed(*self._failure)
        return CoreFailed(
            step,
            detail=f"the child ended with status {ending.status} and without a core: killed (out "
            "of memory?), or the kernel could not create the file",
        )
