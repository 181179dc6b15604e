"""How the map, the threads and the files of a process are reached that /proc does not show."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from gencore import TargetUnavailable
from gencore.memory_map import MappedRange
from gencore.target import Target
from gencore_backends.linux.agent_client import ask_for_file, ask_for_names
from gencore_backends.linux.hidden_processes import NOWHERE, Hidden
from gencore_backends.linux.process_access import AgentAccess

__all__ = ["HiddenAccess"]

_DEVICES: Final = "/dev/"
_LARGEST_DATA: Final = 64 << 20
"""Bytes of a mapped file that is not code, as for files within reach."""
_UNREACHABLE: Final = f"{NOWHERE}/root"
_NO_CLONE: Final = 0
"""Its process ID is not shown here either."""


class HiddenAccess(AgentAccess):
    """Reaches it through its agent alone, which sends the files: as long as the process lives."""

    def __init__(
        self,
        target: Target,
        descriptors: dict[str, int],
        new_copy: Callable[[], tuple[int, str]],
    ) -> None:
        super().__init__(target, _UNREACHABLE, descriptors, _NO_CLONE)
        self._new_copy = new_copy
        self._starts = _starts_of(self._map)
        self._names = _names_of(target)
        self._passed = Hidden("")
        self._passed.keep({"smaps": descriptors["smaps"]} if "smaps" in descriptors else {})

    def smaps_of(self, clone: int) -> str:  # noqa: ARG002 - its ID means another process here
        """Return where the copy of what was passed is."""
        return self._passed.file("smaps")

    def thread_name(self, tid: int) -> str:
        """Return what the agent has said just after the pause."""
        return self._names.get(tid, "")

    def read_from(self, path: str, mapped: str, *, deleted: bool) -> str | None:  # noqa: ARG002 - its map is not seen here
        """Return where a copy of the file is; where there is none, a path that does not exist."""
        if path in self._starts and not deleted:
            with suppress(OSError, TargetUnavailable, ValueError):
                return self._copy(path)
        return self.root + path

    def _copy(self, path: str) -> str:
        file, copy = self._new_copy()
        try:
            ask_for_file(self.target, self._starts[path], file)
        finally:
            os.close(file)
        return copy


def _starts_of(rows: Collection[MappedRange]) -> dict[str, int]:
    """Return where the files are mapped that are worth a copy: not devices, and no large data."""
    starts: dict[str, int] = {}
    data: Counter[str] = Counter()
    for row in rows:
        if row.name.startswith("/") and row.inode and not row.name.startswith(_DEVICES):
            starts.setdefault(row.name, row.start)
            data[row.name] += row.end - row.start
    code = {row.name for row in rows if "x" in row.permissions}
    return {
        name: start
        for name, start in starts.items()
        if name in code or data[name] <= _LARGEST_DATA
    }


def _names_of(target: Target) -> Mapping[int, str]:
    with suppress(OSError, TargetUnavailable, LookupError, ValueError):
        return ask_for_names(target)
    return {}  # it has ended
