"""How the memory, memory map and files of an unarmed process are reached: through its clone."""

import os
from collections.abc import Mapping
from pathlib import Path

from gencore.memory_map import MappedRange, read_memory_map
from gencore.target import Target
from gencore_backends.linux.process_access import ProcessAccess, parse_auxiliary, root_of

__all__ = ["CloneAccess"]


class CloneAccess(ProcessAccess):
    """Reaches a process as it was at the instant: what its clone has, which stands still."""

    def __init__(self, target: Target, clone: int) -> None:
        super().__init__(target)
        self._clone = Target(clone)
        self.map_files = self._clone.proc("map_files")
        self.root = root_of(self._clone)

    def memory_map(self) -> tuple[MappedRange, ...]:
        """Return the clone's. Raises OSError."""
        return read_memory_map(self._clone.pid)

    def open_memory(self) -> int:
        """Return a descriptor of the clone's, to be read and closed. Raises OSError."""
        return os.open(self._clone.proc("mem"), os.O_RDONLY | os.O_CLOEXEC)

    def auxiliary_values(self) -> Mapping[int, int]:
        """Return what the kernel noted when the program began. Raises OSError."""
        return parse_auxiliary(Path(self._clone.proc("auxv")).read_bytes())

    def executable(self) -> tuple[str, str]:
        """Return the path of its executable, and where that can be read. Raises OSError."""
        link = self._clone.proc("exe")
        return os.readlink(link), link
