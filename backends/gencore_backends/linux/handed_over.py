"""A clone of the process that has started this one, its recorder: read through its pipe."""

import io
from typing import TYPE_CHECKING

from gencore import DumpRequest
from gencore.target import Handover, ProcessFacts
from gencore_backends.linux.elf_snapshot import PipeSnapshot
from gencore_backends.linux.passed_origin import PassedOrigin
from gencore_backends.linux.snapshot import LinuxSnapshot

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["HandedSnapshot"]


class HandedSnapshot(PipeSnapshot):
    """One that the target has made, see capture.py. Raises `TargetUnavailable`."""

    def __init__(self, request: DumpRequest, handover: Handover, backend: str) -> None:
        values, descriptors = handover.take(request, backend)
        self._reader = io.FileIO(descriptors.pop("core"), "rb")
        origin = PassedOrigin(request.target)
        origin.facts = ProcessFacts(**values["facts"])

        def take(taken: "list[_native.Snapshot]") -> None:
            taken.append(origin.take_over(values, descriptors))

        LinuxSnapshot.__init__(self, take, origin)
