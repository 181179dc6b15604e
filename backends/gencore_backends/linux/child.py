"""The cloned child as its parent sees it: waited for through its pidfd, ended, reaped once."""

import contextlib
import os
import select
import signal
import threading
from typing import Final

import attrs

from gencore import CoreFailed

__all__ = ["Child", "Ending"]

_WALL: Final = 0x40000000
"""__WALL of wait(2): a child without an exit signal is otherwise not waited for."""


@attrs.frozen
class Ending:
    """How the child ended: `code` and `status` as in waitid(2)."""

    code: int
    status: int
    failure: tuple[str, int] | None
    """The (step, errno) that it sent, if any."""


class Child:
    """Owns the child and the two descriptors that belong to it."""

    def __init__(self, pid: int, pidfd: int, status_fd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._status_fd = status_fd
        self._lock = threading.Lock()
        self._reaped = False

    def wait(self) -> Ending:
        """Wait for the child's end, and reap it."""
        from gencore_backends.linux import _native

        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll()
        with self._lock:
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | _WALL)
            self._reaped = True
        if ended is None:
            raise CoreFailed("wait", detail="the child was reaped by somebody else")
        failure = _native.read_failure(self._status_fd)
        return Ending(ended.si_code, ended.si_status, failure)

    def kill(self) -> None:
        """End the child at once, if it still runs. From any thread."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._reaped:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End and reap the child, and close the descriptors."""
        self.kill()
        if not self._reaped:
            with contextlib.suppress(ChildProcessError, CoreFailed):
                self.wait()
            self._reaped = True
        os.close(self._pidfd)
        os.close(self._status_fd)
