"""A clone of this process that its recorder reads: the target's part of such a dump."""

import os
import resource
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gencore import DumpRequest, ThreadRecord
from gencore.runtime import reraise_if_from_handler
from gencore_backends.linux import _native
from gencore_backends.linux.own_clone import UNKNOWN_PYTHON, can_include, hand_over_this_process
from gencore_backends.linux.process_access import THIS_PROCESS
from gencore_backends.linux.snapshot import clone_failed, thread_records

if TYPE_CHECKING:
    from gencore.arming import Program
    from gencore_backends.linux._native import Snapshot

__all__ = ["Capture", "why_not_recorded"]

_NEXT_NAMESPACE: Final = "/proc/thread-self/ns/pid_for_children"
"""See namespaces(7); missing before Linux 4.12."""
_FACTS: Final = 16 << 20
"""Bytes: more than a thousand threads, each with a deep Python stack, are told of in a file in
memory, for which the limit holds too."""


def why_not_recorded(request: DumpRequest) -> str | None:
    """Return why another process could not make the dump, or would not see what is refused."""
    if (reason := _why_no_access()) is not None:
        return reason
    if _native.userfaultfd_reports_forks():
        return "a userfaultfd of this process reports forks to it"
    if -1 < resource.getrlimit(resource.RLIMIT_FSIZE)[0] < _FACTS:
        return (
            "its limit on the size of files (ulimit -f) leaves no room for what a recorder is told"
        )
    if not can_include(request.content):
        return UNKNOWN_PYTHON
    if _begins_pid_namespace():
        return "its next child would be the first process of a PID namespace (unshare(2))"
    return None


def _why_no_access() -> str | None:
    if _native.dumpable() != 1:
        return "the kernel considers this process not dumpable (prctl(2)): no other may look at it"
    if (os.geteuid(), os.getegid()) != (os.getuid(), os.getgid()):
        return "this process runs with another user's rights than its own (set-user-ID)"
    return None


def _begins_pid_namespace() -> bool:
    """Return whether the end of this thread's next child forbids it any other one."""
    try:
        os.readlink(_NEXT_NAMESPACE)
    except FileNotFoundError as error:  # its name, as it has no process yet
        reraise_if_from_handler(error)
        return os.path.lexists(_NEXT_NAMESPACE)
    return False


class Capture:
    """One clone, which is handed over at once: a `gencore.arming.Capture`."""

    def __init__(self) -> None:
        self._taken: list[Snapshot] = []  # whatever comes in between, its end is in `__del__`
        self._closed: list[Snapshot] = []
        self._maker = os.getpid()

    def take(
        self, request: DumpRequest, channel: int, recorder: "int | Program", facts: bytes
    ) -> None:
        """Make it. Raises `CoreFailed`."""
        try:
            hand_over_this_process(request, channel, recorder, facts, self._taken)
        except OSError as error:
            self.close()  # if the recorder could not be told of it
            raise clone_failed(error) from error

    @property
    def _snapshot(self) -> "Snapshot":
        return [*self._taken, *self._closed][0]  # `close` may run on another thread

    @property
    def phases(self) -> Mapping[str, float]:
        """The parts of the pause, in seconds."""
        *_, phases, _, _ = self._snapshot
        return phases

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, with its current name."""
        *_, rows, _ = self._snapshot
        return thread_records(rows, THIS_PROCESS)

    def close(self) -> None:
        """End the clone and reap it. In a forked child, whose it is not, close the descriptors."""
        self._closed += self._taken
        while self._taken:
            _, pidfd, status_fd, *_ = self._taken.pop()
            _native.end_clone(pidfd, status_fd, self._maker == os.getpid())

    def __del__(self) -> None:
        """Close it if that was not done."""
        self.close()
