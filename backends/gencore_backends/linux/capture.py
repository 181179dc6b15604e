"""A clone of this process that its recorder reads: the target's part of such a dump."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gencore import DumpRequest, ThreadRecord
from gencore.runtime import ignored, open_descriptor
from gencore.target import Target
from gencore_backends.linux import _native
from gencore_backends.linux.child import Child
from gencore_backends.linux.elf_snapshot import clone_this_process, core_pipe
from gencore_backends.linux.snapshot import take_clone, thread_records

if TYPE_CHECKING:
    from gencore_backends.linux._native import Snapshot

__all__ = ["Capture", "why_not_recorded"]

_FILES: Final = {
    "memory": "/proc/thread-self/mem",
    "maps": "/proc/thread-self/maps",
    "auxv": "/proc/thread-self/auxv",
    "executable": "/proc/self/exe",
}
"""What leads to the process even after its end."""


def why_not_recorded(_: DumpRequest) -> str | None:
    """Return why another process could not make the dump, or would not see what is refused."""
    if _native.dumpable() != 1:
        return "the kernel considers this process not dumpable (prctl(2)): no other may look at it"
    if (os.geteuid(), os.getegid()) != (os.getuid(), os.getgid()):
        return "this process runs with another user's rights than its own (set-user-ID)"
    if _native.userfaultfd_reports_forks():
        return "a userfaultfd of this process reports forks to it"
    return None


class Capture:
    """One clone, and the descriptors that lead to it: a `gencore.arming.Capture`."""

    def __init__(
        self, request: DumpRequest, excluded: Sequence[tuple[int, int]], reader: int
    ) -> None:
        """Make it. Raises `CoreFailed`, and OSError without descriptors for it."""
        taken: list[Snapshot] = []
        self._child = Child(taken)
        self._excluded = list(excluded)
        self._opened: dict[str, int] = {}
        core, writer = core_pipe()
        try:
            self._opened["core"] = os.dup(core.fileno())
            clone = partial(clone_this_process, request.without(tuple(excluded)), writer)
            take_clone(partial(clone, reader=reader), taken)
        except BaseException:
            self.close()
            raise
        finally:
            core.close()
            os.close(writer)
        _, pidfd, status, self.phases, self._rows, self._unlisted = taken[0]
        for name, path in _FILES.items():
            with ignored(OSError):
                self._opened[name] = open_descriptor(path, os.O_RDONLY | os.O_CLOEXEC)
        self.descriptors: Mapping[str, int] = {**self._opened, "clone": pidfd, "status": status}

    @property
    def values(self) -> Mapping[str, Any]:
        """What the recorder must know."""
        return {
            "phases": self.phases,
            "threads": self._rows,
            "unlisted": self._unlisted,
            "excluded": self._excluded,
        }

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread at the instant, with its current name."""
        return thread_records(self._rows, Target())

    def begin(self) -> None:
        """Let the clone begin, and close what was only meant for its reader."""
        self._child.go_on()
        self._close_opened()

    def close(self) -> None:
        """End the clone and reap it."""
        self._close_opened()
        self._child.close()

    def __del__(self) -> None:
        """Close what is left if nothing else could: Ctrl-C may arrive before it has an owner."""
        if "_opened" in vars(self):
            self._close_opened()

    def _close_opened(self) -> None:
        while self._opened:
            os.close(self._opened.popitem()[1])
