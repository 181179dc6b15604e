"""A clone of another process, made by its agent: who it is of, and how it is asked for."""

import os
from typing import TYPE_CHECKING, Final

from gencore import DumpRequest, Refused, Snapshot
from gencore.output import Output
from gencore_backends.linux.agent_client import ask
from gencore_backends.linux.elf_snapshot import FileSnapshot, PipeSnapshot
from gencore_backends.linux.hidden_access import HiddenAccess
from gencore_backends.linux.huge_pages import collapse_memory_of
from gencore_backends.linux.passed_origin import PassedOrigin, facts_of
from gencore_backends.linux.process_access import AgentAccess

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["take_by_agent"]

_COPY: Final = "mapped-file-{}"


def take_by_agent(request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
    """Take it. Raises `CoreFailed` and `TargetUnavailable`."""
    capture = _Capture(request, _Copies(output))
    if request.huge_pages:
        capture.huge_pages = collapse_memory_of(request.target, request.timeout)
    if to_file:
        return FileSnapshot(capture.take, output, capture)
    return PipeSnapshot(capture.take, capture)


class _Copies:
    """Makes files for copies, which end with the dump: in its directory, or in memory."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._count = 0
        self._in_memory: list[int] = []

    def new(self) -> tuple[int, str]:
        """Return the descriptor of an empty one, the caller's to close, and its path."""
        name = _COPY.format(self._count)
        self._count += 1
        try:
            file = self._output.new_file(name)
        except (OSError, Refused):  # nothing can be written
            file = os.memfd_create(name, os.MFD_CLOEXEC)
            self._in_memory.append(file)
            return os.dup(file), f"/proc/self/fd/{file}"
        return file, f"/proc/self/fd/{self._output.fd}/{name}"

    def close(self) -> None:
        """Release those in memory; the others are removed with the directory."""
        while self._in_memory:
            os.close(self._in_memory.pop())


class _Capture(PassedOrigin):
    """One capture by an agent, which measures the pause and lets the clone begin itself."""

    def __init__(self, request: DumpRequest, copies: _Copies) -> None:
        super().__init__(request.target)
        self._request = request
        self._copies = copies

    def _access(self, descriptors: dict[str, int], clone: int) -> AgentAccess:
        if self._request.target.hidden is None:
            return super()._access(descriptors, clone)
        return HiddenAccess(self._request.target, descriptors, self._copies.new)

    def close(self) -> None:
        """Close what was passed, and the copies."""
        super().close()
        self._copies.close()

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
