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
        self._ending: Ending | None = None

    def ended(self, timeout: float | None) -> bool:
        """Wait *timeout* seconds for the child's end, or for ever. Return whether it has ended."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def wait_for_core(self) -> None:
        """Wait for the child's end. Raises `CoreFailed` unless the kernel dumped it."""
        ending = self._wait()
        if ending.failure is not None:
            raise CoreFailed(*ending.failure)
        if ending.code != os.CLD_DUMPED:
            raise CoreFailed("kernel-dump", detail=_why_no_core(ending.status))

    def _wait(self) -> Ending:
        """Wait for the child's end, and reap it."""
        from gencore_backends.linux import _native

        if self._ending is None:
            self.ended(None)
            failure = _native.read_failure(self._status_fd)
            with self._lock:
                info = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | _WALL)
                if info is None:
                    raise CoreFailed("wait", detail="the child was reaped by somebody else")
                self._ending = Ending(info.si_code, info.si_status, failure)
        return self._ending

    def kill(self) -> None:
        """End the child at once, if it still runs. From any thread."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._ending is None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End and reap the child, and close the descriptors."""
        self.kill()
        with contextlib.suppress(ChildProcessError, CoreFailed):
            self._wait()
        os.close(self._pidfd)
        os.close(self._status_fd)


def _why_no_core(status: int) -> str:
    return (
        f"the child ended with status {status} and without a core: killed (out of memory?), or "
        "the kernel could not create the file"
    )
