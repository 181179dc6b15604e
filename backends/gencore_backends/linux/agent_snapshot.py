"""A clone of another process, made by its agent: who it is of, and how it is asked for."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gencore import DumpRequest, Refused, Snapshot
from gencore.output import Output
from gencore_backends.linux.agent_client import ask
from gencore_backends.linux.elf_snapshot import FileSnapshot, PipeSnapshot
from gencore_backends.linux.hidden_access import HiddenAccess
from gencore_backends.linux.passed_origin import PassedOrigin, facts_of
from gencore_backends.linux.process_access import AgentAccess

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["take_by_agent"]

_UNNAMED: Final = "mapped-file"


def take_by_agent(request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
    """Take it. Raises `CoreFailed` and `TargetUnavailable`."""
    capture = _Capture(request, _Unnamed(output))
    if to_file:
        return FileSnapshot(capture.take, output, capture)
    return PipeSnapshot(capture.take, capture)


class _Unnamed:
    """Makes files of a dump that have no name, and end with their descriptor."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self) -> int:
        """Return the descriptor of an empty one; in memory where nothing can be written."""
        try:
            file = self._output.new_file(_UNNAMED)
        except (OSError, Refused):
            return os.memfd_create("gencore-mapped", os.MFD_CLOEXEC)
        self._output.remove(_UNNAMED)
        return file


class _Capture(PassedOrigin):
    """One capture by an agent, which measures the pause and lets the clone begin itself."""

    def __init__(self, request: DumpRequest, new_file: Callable[[], int]) -> None:
        super().__init__(request.target)
        self._request = request
        self._new_file = new_file

    def _access(self, descriptors: dict[str, int], clone: int) -> AgentAccess:
        if self._request.target.hidden is None:
            return super()._access(descriptors, clone)
        return HiddenAccess(self._request.target, descriptors, self._new_file)

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
