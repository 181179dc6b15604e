"""A clone of the process that has started this one, its recorder: read through its pipe."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gencore import DumpRequest
from gencore.huge_pages import HugePages
from gencore.process import PythonFrame, PythonThread
from gencore.target import Handover, ProcessFacts
from gencore_backends.linux.elf_snapshot import PipeSnapshot
from gencore_backends.linux.passed_origin import PassedOrigin, facts_of
from gencore_backends.linux.snapshot import LinuxSnapshot

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["HandedSnapshot"]


class HandedSnapshot(PipeSnapshot):
    """One that the target has made, see capture.py. Raises `TargetUnavailable`."""

    def __init__(self, request: DumpRequest, handover: Handover, backend: str) -> None:
        origin = PassedOrigin(request.target)
        values, descriptors = handover.take(request, backend)
        self._reader = io.FileIO(descriptors.pop("core"), "rb")
        origin.facts = _facts_of(values)
        origin.huge_pages = _huge_pages_of(values)

        def take(taken: "list[_native.Snapshot]") -> None:
            taken.append(origin.take_over(values, descriptors))

        LinuxSnapshot.__init__(self, take, origin)


def _facts_of(values: Mapping[str, Any]) -> ProcessFacts | None:
    facts = facts_of(values["facts"])
    if facts is None:
        return None
    threads = tuple(_thread(row) for row in values["facts"]["python_threads"])
    before = (values["began_ns"] - values["facts"]["observed_ns"]) / 1e9
    return attrs.evolve(facts, python_threads=threads, observed_before=max(0.0, before))


def _huge_pages_of(values: Mapping[str, Any]) -> HugePages | None:
    row = (values["facts"] or {}).get("huge_pages")
    return None if row is None else HugePages(**row)


def _thread(row: dict[str, Any]) -> PythonThread:
    frames = tuple(PythonFrame(*frame) for frame in row["frames"])
    return PythonThread(**{**row, "frames": frames})
