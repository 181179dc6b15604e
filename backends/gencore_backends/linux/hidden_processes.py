"""Armed processes that /proc does not show: those of other PID namespaces in the same network.

Of such a process there is what its agent gives: a few of its files in /proc, copied when it is
looked for, and the files that are mapped into it, part by part. Its process ID means another
process here, or none, and is never looked up.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from gencore import TargetUnavailable
from gencore.target import Target
from gencore_backends.linux.agent_client import Answer, ask

__all__ = ["NOWHERE", "Hidden", "hidden_targets"]

NOWHERE: Final = "/proc/0"
"""A folder that never exists: 0 is what the kernel shows as the ID of such a process."""
_READ: Final = 1 << 16
_PATIENCE: Final = 2.0
"""Seconds for an agent that was found, but not named: it may be stopped, or a stranger's."""


class Hidden:
    """What is known of one: a `gencore.target.HiddenProcess`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._files: dict[str, int] = {}

    def file(self, name: str) -> str:
        """Return where the copy of a file is; without one, a path that cannot be opened."""
        copy = self._files.get(name)
        return f"{NOWHERE}/{name}" if copy is None else f"/proc/self/fd/{copy}"

    def keep(self, descriptors: Mapping[str, int]) -> None:
        """Copy files that were passed: opening them anew would need rights over the process."""
        for name, file in descriptors.items():
            with suppress(OSError):  # it has ended
                self._keep(name, file)

    def _keep(self, name: str, file: int) -> None:
        copy = os.memfd_create(f"gencore-{name}", os.MFD_CLOEXEC)
        previous = self._files.pop(name, None)
        self._files[name] = copy
        if previous is not None:
            os.close(previous)
        while part := os.read(file, _READ):
            os.write(copy, part)

    def __del__(self) -> None:
        """Close the copies."""
        while self._files:
            os.close(self._files.popitem()[1])


def hidden_targets(names: set[str]) -> Iterator[tuple[str, Target, Answer]]:
    """Yield those of these agents that this process may ask: name, process, and what they say."""
    for name in sorted(names):
        with suppress(TargetUnavailable, OSError, LookupError, ValueError):
            _, pid, _ = map(int, name.split("/"))
            hidden = Hidden(name)
            target = Target(pid, hidden=hidden)
            with ask(target, patience=_PATIENCE) as answer:
                if answer.values["pid"] == pid:
                    hidden.keep(answer.descriptors)
                    yield name, target, answer
