"""How the memory, memory map and files of an unarmed process are reached: through its clone."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from gencore.memory_map import MappedRange, read_memory_map
from gencore.target import Target
from gencore_backends.linux.process_access import ProcessAccess

__all__ = ["CloneAccess"]


class CloneAccess(ProcessAccess):
    """Reaches a process as it was at the instant: what its clone has, which stands still."""

    def __init__(self, target: Target, clone: int) -> None:
        super().__init__(target)
        self._clone = Target(clone)
        self.map_files = self._clone.proc("map_files")
        if _is_elsewhere(self._clone):
            self.root = self._clone.proc("root")

    def memory_map(self) -> tuple[MappedRange, ...]:
        """Return the clone's. Raises OSError."""
        return read_memory_map(self._clone.pid)

    def open_memory(self) -> int:
        """Return a descriptor of the clone's, to be read and closed. Raises OSError."""
        return os.open(self._clone.proc("mem"), os.O_RDONLY | os.O_CLOEXEC)

    def auxiliary_values(self) -> Mapping[int, int]:
        """Return what the kernel noted when the program began. Raises OSError."""
        data = Path(self._clone.proc("auxv")).read_bytes()
        words = [int.from_bytes(data[at : at + 8], sys.byteorder) for at in range(0, len(data), 8)]
        return dict(zip(words[::2], words[1::2], strict=True))

    def executable(self) -> tuple[str, str]:
        """Return the path of its executable, and where that can be read. Raises OSError."""
        link = self._clone.proc("exe")
        return os.readlink(link), link


def _is_elsewhere(process: Target) -> bool:
    """Whether paths lead to other files there: a container's, or those of a chroot."""
    same_mounts = Path(process.proc("ns/mnt")).samefile("/proc/self/ns/mnt")
    return not (same_mounts and Path(process.proc("root")).samefile("/"))
