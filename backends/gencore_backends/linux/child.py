"""The cloned child as its parent sees it: waited for through its pidfd, killed, reaped once.

Success is what the child reports: the size it promises, and that it is done. Its exit status only
explains a failure, because it may be unknown: a program that reaps every child (waitpid(2) with
__WALL) takes it away.
"""

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Final, NamedTuple

from gencore import CoreFailed
from gencore.runtime import Lock, wait_for_descriptors
from gencore_backends.linux import _native

__all__ = ["Child"]

_WALL: Final = 0x40000000
"""__WALL of wait(2): a child without an exit signal is otherwise not waited for."""
_CAUSES: Final = {
    signal.SIGKILL: "out of memory, or killed by another process",
    signal.SIGSYS: "a seccomp filter forbids one of its system calls",
}
_REMEDIES: Final = {
    signal.SIGKILL: "check the kernel's log (dmesg), and raise the memory limit",
    signal.SIGSYS: "allow the system call named in the kernel's log (dmesg, 'type=1326'), or let "
    "the filter return EPERM instead of killing",
}
_UNREADABLE: Final = {
    "unreadable": "memory at {:#x}: {:,} bytes",
    "more-unreadable": "{:,} more ranges: {:,} bytes",
}
"""By the name of the child's message."""
_GAPS: Final = {
    "not-inherited": (
        "MADV_DONTFORK memory",
        "{:,} bytes in {:,} mappings, which a clone does not inherit; see madvise(2)",
    ),
    "wiped": (
        "MADV_WIPEONFORK memory",
        "{:,} bytes in {:,} mappings, which are zeros in a clone; see madvise(2)",
    ),
}
"""Part and reason, by the name of the child's message."""


class _Ending(NamedTuple):
    """How the child ended: `code` and `status` as in waitid(2), or None if that is unknown."""

    code: int | None
    status: int

    @property
    def by_signal(self) -> bool:
        return self.code in {os.CLD_KILLED, os.CLD_DUMPED}

    @property
    def dumped(self) -> bool:
        return (self.code, self.status) == (os.CLD_DUMPED, signal.SIGSEGV)


_REAPED_BY_OTHERS: Final = _Ending(None, 0)
_EXIT_CODE: Final = -1
"""The field of /proc/PID/stat that has the status of wait(2), see proc_pid_stat(5)."""
_CORE_DUMPED: Final = 0x80


def _ending_of_zombie(pid: int) -> _Ending:
    """Return how a process ended that its parent, the target of a recorder, has not yet reaped."""
    try:
        _, _, rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")
    except OSError:
        return _REAPED_BY_OTHERS
    if not rest.startswith(b"Z"):
        return _REAPED_BY_OTHERS
    status = int(rest.split()[_EXIT_CODE])
    if not os.WIFSIGNALED(status):
        return _Ending(os.CLD_EXITED, os.waitstatus_to_exitcode(status))
    code = os.CLD_DUMPED if status & _CORE_DUMPED else os.CLD_KILLED
    return _Ending(code, os.WTERMSIG(status))


class Child:
    """Owns the child and the two descriptors that belong to it.

    Made before there is a child, with the list into which the native part puts it: whatever comes
    in between, such as Ctrl-C, nothing is left of it once this object is gone. A process that the
    application forks meanwhile has a copy of this object, but no child: there only the descriptors
    are closed.
    """

    def __init__(self, taken: "list[_native.Snapshot]") -> None:
        self._taken = taken
        self._closed = False
        self._lock = Lock()
        self._parent = os.getpid()
        self._ending: _Ending | None = None
        self._sizes: tuple[int, int] | None = None
        self._marked_files: int | None = None
        self._step: str | None = None
        self._failure: tuple[str, int] | None = None
        self._done = False
        self._unreadable: list[str] = []
        self.gaps: dict[str, str] = {}
        """Memory that the core should have and a clone does not; complete once it is done."""

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
        """Signal the child that the pause is over. It waits for that, a second at most."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def ended(self, timeout: float | None) -> bool:
        """Wait *timeout* seconds, or indefinitely, for the child's end. Return whether it came."""
        return bool(_poll([self._pidfd], timeout))

    def will_write(self, fd: int) -> bool:
        """Wait until *fd*, which the child writes to, has bytes, or the child has ended.

        End-of-file is not enough: a process that was forked meanwhile may hold the writing end.
        """
        ready = _poll([fd, self._pidfd], None)
        if fd not in ready:  # but it may have written after the look at fd, and then ended
            ready = _poll([fd], 0)
        return bool(ready.get(fd, 0) & select.POLLIN)

    def promised_sizes(self) -> tuple[int, int]:
        """Wait until the child knows how long its core is. Raises `CoreFailed`.

        Returns the bytes of the whole core, and of the headers and notes at its beginning.
        """
        while self._sizes is None and self._take_message():
            pass
        if self._sizes is None:
            raise self._error(self._wait())
        return self._sizes

    def may_have_marked_files(self) -> bool:
        """Wait until it is known whether memory of files is marked with MADV_DONTDUMP."""
        while self._marked_files is None and self._take_message():
            pass
        return self._marked_files != 0

    def wait_for_core(self) -> None:
        """Wait for the child's end. Raises `CoreFailed` if the kernel has not dumped it.

        If it was reaped by other code, only the file can show whether there is a core.
        """
        ending = self._wait()
        if self._failure is not None or not (ending.dumped or ending.code is None):
            raise self._error(ending)

    def why_unfinished(self) -> str | None:
        """Wait until the child is done. Return why it never was, or None.

        Its end is not waited for then: the kernel takes long to free a large image.
        """
        while not self._done and self._take_message():
            pass
        return None if self._done else str(self._error(self._wait()))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the child could not read; complete once it is done."""
        return tuple(f"{row} unreadable, and missing from the core" for row in self._unreadable)

    def kill(self) -> None:
        """Kill the child if it still runs. May be called from any thread."""
        # In another PID namespace it cannot be; it ends when nobody reads its core any more.
        with self._lock, contextlib.suppress(OSError):
            if self._ending is None and self._is_ours:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End and reap the child, and close the descriptors."""
        if self._closed or not self._taken:
            return
        self._closed = True
        if self._is_ours:
            self.kill()
            self._wait()
        os.close(self._pidfd)
        os.close(self._status_fd)

    def __del__(self) -> None:
        """Close it if that was not done."""
        if "_closed" in vars(self):
            self.close()

    @property
    def _is_ours(self) -> bool:
        return self._parent == os.getpid()

    def _wait(self) -> _Ending:
        """Take the child's last messages, wait for its end, and reap it."""
        if self._ending is None:
            while self._take_message():
                pass
            self.ended(None)
            with self._lock:
                self._ending = self._reap()
        return self._ending

    def _reap(self) -> _Ending:
        try:
            info = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | _WALL)
        except ChildProcessError:  # not ours, or other code was faster
            return _ending_of_zombie(self.pid)
        return _REAPED_BY_OTHERS if info is None else _Ending(info.si_code, info.si_status)

    def _take_message(self) -> bool:
        """Wait for the next message and record it. Return False if there are no more."""
        if not self.will_write(self._status_fd):
            return False
        match _native.read_message(self._status_fd):
            case "size", whole, head:
                self._sizes = whole, head
            case ("unreadable" | "more-unreadable") as kind, start_or_count, size:
                self._unreadable.append(_UNREADABLE[kind].format(start_or_count, size))
            case ("not-inherited" | "wiped") as kind, count, size:
                part, reason = _GAPS[kind]
                self.gaps[part] = reason.format(size, count)
            case "marked-files", count, _:
                self._marked_files = count
            case "step", step, _:
                self._step = step
            case "failure", step, errno:
                self._failure = step, errno
            case "done", _, _:
                self._done = True
            case None:
                return False
        return True

    def _error(self, ending: _Ending) -> CoreFailed:
        """Return why the core is missing or incomplete: the child's report, or how it ended."""
        if self._failure is not None:
            return CoreFailed(*self._failure)
        step = "kernel-dump" if self._step == "raise" else self._step or "clone"
        if ending.code is None:
            detail = f"the clone ended in step {step!r}; other code in the process reaped it"
            return CoreFailed("wait", detail=f"{detail}, so the cause is unknown")
        if ending.by_signal and not (step == "kernel-dump" and ending.status == signal.SIGSEGV):
            return _ended_by(ending.status, step)
        detail = "the kernel could not write the file" if ending.by_signal else "no reason given"
        return CoreFailed(step, detail=f"the clone ended with status {ending.status}: {detail}")


def _ended_by(number: int, step: str) -> CoreFailed:
    try:
        known = signal.Signals(number)
    except ValueError:  # a real-time signal
        return CoreFailed(step, detail=f"the clone was killed by signal {number}")
    cause = f" ({_CAUSES[known]})" if known in _CAUSES else ""
    detail = f"the clone was killed by {known.name}{cause}"
    return CoreFailed(step, detail=detail, remedy=_REMEDIES.get(known))


def _poll(fds: list[int], timeout: float | None) -> dict[int, int]:
    """Wait *timeout* seconds, or indefinitely, for bytes or an end. Return each one's events."""
    return wait_for_descriptors(dict.fromkeys(fds, select.POLLIN), timeout)
