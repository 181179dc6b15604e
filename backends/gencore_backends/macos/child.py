"""The forked child as its parent sees it: waited for, killed, reaped once."""

import contextlib
import errno
import os
import signal
from typing import Final

from gencore import CoreFailed
from gencore.runtime import Latch, Lock

__all__ = ["Child"]

_GLANCE: Final = 0.01
"""Seconds between two checks of the child."""


class Child:
    """Owns the child and the descriptor that belongs to it.

    Without pidfds a process can only identify its child by pid, which is free for reuse once the
    child is reaped. So nothing here blocks in waitpid(2), and reaping and killing hold the lock:
    the child is never killed after it was reaped here. The application itself can still reap it,
    with waitpid(-1); then there is an error instead of a core.
    """

    def __init__(self, pid: int, status_fd: int) -> None:
        self.pid = pid
        self._status_fd = status_fd
        self._lock = Lock()
        self._given_up = Latch()
        self._gone = False
        self._status: int | None = None

    def wait(self) -> int:
        """Wait for the child's end; return its status, see waitpid(2). Raises `CoreFailed`."""
        while not self._ended():
            self._given_up.wait(_GLANCE)
            self.check()
        self.check()
        if self._status is None:
            raise CoreFailed(
                "wait",
                errno.ECHILD,
                "the application reaped the child: it waits for any child, or ignores SIGCHLD",
                remedy="let it wait for its own children by pid",
            )
        return self._status

    def check(self) -> None:
        """Raise `CoreFailed` if the dump was aborted."""
        if self._given_up.is_open:
            raise CoreFailed("wait", detail="the dump was aborted")

    def failure(self) -> tuple[str, int] | None:
        """Return the step at which the ended child failed, and the system's reason."""
        from gencore_backends.macos import _native

        return _native.read_failure(self._status_fd)

    def kill(self) -> None:
        """Kill the child if it still runs, and end `wait`. May be called from any thread.

        While macOS writes the core, SIGKILL may be delayed until that is done.
        """
        self._given_up.open()
        with self._lock:
            if not self._look():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End and reap the child, and close the descriptor."""
        self.kill()
        while not self._ended():
            Latch().wait(_GLANCE)
        os.close(self._status_fd)

    def _ended(self) -> bool:
        with self._lock:
            return self._look()

    def _look(self) -> bool:
        """Reap the child if it has ended. Return whether it has. Needs the lock."""
        if not self._gone:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._gone = True
            else:
                if pid:
                    self._gone, self._status = True, status
        return self._gone
