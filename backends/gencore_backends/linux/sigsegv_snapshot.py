"""A clone that dies of SIGSEGV, and the kernel's core of it, found through core_pattern."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from gencore import CoreFailed, CoreStream, DumpRequest
from gencore.corefile import CoreFile
from gencore.output import Output
from gencore_backends.linux import _native
from gencore_backends.linux.core_pattern import CorePattern
from gencore_backends.linux.kernel_core import NOTES, KernelCore
from gencore_backends.linux.snapshot import STOP_TIMEOUT_MS, LinuxSnapshot

__all__ = ["CONTENTS", "KernelSnapshot"]

CONTENTS: Final = {"full": 0xFF, "private": 0x33}
"""Bits of core(5), "Controlling which mappings are written". 0x33: anonymous memory, pages of
files that the process changed, and the first page of every ELF file."""
_CORE: Final = "core"
_GLANCE: Final = 0.001
"""Seconds between two checks for the file that the kernel is about to create."""


class KernelSnapshot(LinuxSnapshot):
    """A clone that enters *output* and dies there. Raises `CoreFailed`."""

    def __init__(self, request: DumpRequest, output: Output) -> None:
        directory_fd = output.fd
        super().__init__(
            lambda taken: _native.snapshot_for_kernel(
                directory_fd,
                CONTENTS[request.content],
                request.excluded,
                request.allow_undumpable,
                request.threads,
                STOP_TIMEOUT_MS,
                taken,
            )
        )
        self._output = output

    def core(self) -> CoreStream:
        """Find the kernel's file, whose notes are replaced by those that the child has left."""
        pattern = CorePattern.read()
        if pattern.absolute:
            self._child.wait_for_core()
            _move(_find_absolute(pattern, self._child.pid), self._output)
        else:
            self._find()
        return KernelCore(self._output, _CORE, self._child)

    @property
    def written(self) -> int:
        """Bytes on disk of all files in the private directory."""
        with contextlib.suppress(OSError):
            directory = self._output.fd
            return sum(os.stat(n, dir_fd=directory).st_blocks * 512 for n in self._output.names)
        return 0

    def _find(self) -> None:
        """Wait for a file in the private directory, and name it ``core``."""
        while not (names := self._names()) and not self._child.ended(_GLANCE):
            pass
        names = names or self._names()
        if len(names) != 1:
            self._child.wait_for_core()
            raise CoreFailed("find-core", detail=f"{len(names)} files in the private directory")
        self._output.rename(names[0], _CORE)

    def _names(self) -> list[str]:
        return [name for name in self._output.names if name != NOTES]


def _find_absolute(pattern: CorePattern, child_pid: int) -> Path:
    for path in pattern.find(child_pid):
        with contextlib.suppress(Exception), CoreFile(path) as core:
            if core.thread_ids[:1] == (child_pid,) and path.stat().st_uid == os.geteuid():
                return path
    raise CoreFailed("find-core", detail=f"no core found for kernel.core_pattern {pattern.text!r}")


def _move(source: Path, output: Output) -> None:
    try:
        os.rename(source, _CORE, dst_dir_fd=output.fd)
    except OSError:  # another file system
        with source.open("rb") as reader, open(output.new_file(_CORE), "wb") as writer:  # noqa: PTH123 - a descriptor
            shutil.copyfileobj(reader, writer, 1 << 20)
        source.unlink()
