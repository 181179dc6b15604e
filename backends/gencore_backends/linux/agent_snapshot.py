"""A clone of another process, made by its agent: who it is of, and how it is asked for."""

import os
from typing import TYPE_CHECKING

from gencore import DumpRequest, Snapshot
from gencore.output import Output
from gencore_backends.linux.agent_client import ask
from gencore_backends.linux.elf_snapshot import FileSnapshot, PipeSnapshot
from gencore_backends.linux.passed_origin import PassedOrigin, facts_of

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["take_by_agent"]


def take_by_agent(request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
    """Take it. Raises `CoreFailed` and `TargetUnavailable`."""
    capture = _Capture(request)
    if to_file:
        return FileSnapshot(capture.take, output, capture)
    return PipeSnapshot(capture.take, capture)


class _Capture(PassedOrigin):
    """One capture by an agent, which measures the pause and lets the clone begin itself."""

    def __init__(self, request: DumpRequest) -> None:
        super().__init__(request.target)
        self._request = request

    def take(self, core_fd: int, taken: "list[_native.Snapshot]") -> None:
        """Ask for it. Raises `TargetUnavailable`, and OSError with the step that failed."""
        reader = os.pidfd_open(os.getpid())
        try:
            answer = ask(self._request.target, self._request, (core_fd, reader))
        finally:
            os.close(reader)
        values, descriptors = answer.values, answer.descriptors
        if "failed" in values:
            step, number = values["failed"]
            raise OSError(number, os.strerror(number), step)
        taken.append(self.take_over(values, descriptors))
        self.facts = facts_of(values["facts"])
