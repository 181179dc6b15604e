"""How a process's memory, memory map and files are reached: this process's own, or another's."""

import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gencore.memory_map import MappedRange, parse_memory_map, read_memory_map
from gencore.runtime import open_descriptor, reraise_if_from_handler
from gencore.target import Target
from gencore_backends.linux import _native

__all__ = [
    "THIS_PROCESS",
    "AgentAccess",
    "ProcessAccess",
    "parse_auxiliary",
    "root_of",
    "thread_name",
]

_AUXILIARY: Final = (3, 5)
"""AT_PHDR and AT_PHNUM of getauxval(3)."""


class ProcessAccess:
    """Reaches this process through /proc, as every process may reach itself.

    Through the calling thread: /proc/self has no memory and no files once the main thread has
    ended.
    """

    root: str = ""
    """What comes before a path of the process, so that it leads to the same file here."""
    map_files: str = "/proc/self/map_files"
    """Threads have none of their own."""

    loaded_files: tuple[tuple[str, int], ...] | None = None
    """The linker's name and an address of each, if they were read already."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def memory_map(self) -> tuple[MappedRange, ...]:
        """Return it as it is now. Raises OSError."""
        return read_memory_map()

    def mapped_file(self, row: MappedRange) -> str:
        """Return where the file of a mapping can be read whatever has become of its path."""
        return f"{self.map_files}/{row.start:x}-{row.end:x}"

    def read_from(self, path: str, mapped: str, *, deleted: bool) -> str | None:
        """Return where a file can be read if not at *path*; *mapped*: as `mapped_file` says."""
        if deleted:
            return mapped
        return self.root + path if self.root else None

    def smaps_of(self, clone: int) -> str:
        """Return where the smaps of a clone of it can be read, by the clone's process ID."""
        return f"/proc/{clone}/smaps"

    def thread_name(self, tid: int) -> str:
        """Return a thread's name, or nothing if it has ended."""
        return thread_name(tid, self.target)

    def open_memory(self) -> int:
        """Return a descriptor of its memory, to be read and closed. Raises OSError."""
        return open_descriptor(self.target.proc("mem"), os.O_RDONLY | os.O_CLOEXEC)

    def auxiliary_values(self) -> Mapping[int, int]:
        """Return what the kernel noted when its program began, see getauxval(3).

        /proc/PID/auxv is closed to a process that is not dumpable.
        """
        return {row: _native.auxiliary_value(row) for row in _AUXILIARY}

    def executable(self) -> tuple[str, str]:
        """Return the path of its executable, and where that can be read. Raises OSError."""
        link = self.target.proc("exe")
        return os.readlink(link), link


THIS_PROCESS: Final = ProcessAccess(Target())


class AgentAccess(ProcessAccess):
    """Reaches another process through descriptors that its agent passed on.

    It opened them itself: no right over the process is needed, only to read the files of /proc
    that every process of the same user may read. The map is read at once: the process may be
    killed as soon as the pause is over, and a map that is read meanwhile just ends. Then that of
    its clone is as good, which lives until it has written its core.
    """

    def __init__(self, target: Target, root: str, descriptors: dict[str, int], clone: int) -> None:
        super().__init__(target)
        self.root = root
        self._descriptors = descriptors
        self._map = self._read_map() or _map_of(clone)
        self.map_files = target.proc("map_files")

    def _read_map(self) -> tuple[MappedRange, ...]:
        try:
            maps = self._descriptors["maps"]
            with os.fdopen(os.dup(maps), "rb") as file:
                data = file.read()
            lives = bool(os.pread(maps, 1, 0))  # so it has not ended while its map was read
        except (OSError, LookupError):  # it has ended already, or could not open it
            return ()
        return parse_memory_map(data) if lives else ()

    def memory_map(self) -> tuple[MappedRange, ...]:
        """Return it as it was just after the pause. Raises OSError if nobody could read it."""
        if not self._map:
            raise ProcessLookupError(errno.ESRCH, "its memory map could not be read")
        return self._map

    def open_memory(self) -> int:
        """Return another descriptor of the one that was passed."""
        return os.dup(self._descriptors["memory"])

    def auxiliary_values(self) -> Mapping[int, int]:
        """Read them where they were passed."""
        with os.fdopen(os.dup(self._descriptors["auxv"]), "rb") as file:
            data = file.read()
        return parse_auxiliary(data)

    def executable(self) -> tuple[str, str]:
        """Return its path as the process sees it, and the descriptor that was passed."""
        link = f"/proc/self/fd/{self._descriptors['executable']}"
        try:
            return os.readlink(self.target.proc("exe")), link
        except OSError:  # it has ended
            return os.readlink(link), link

    def close(self) -> None:
        """Close what was passed."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def thread_name(tid: int, target: Target) -> str:
    """Return a thread's name, or nothing if it has ended."""
    try:
        path = Path(target.process_file(f"task/{tid}/comm"))
        return path.read_text(errors="replace").rstrip("\n")
    except OSError as error:
        reraise_if_from_handler(error)
        return ""


def _map_of(process: int) -> tuple[MappedRange, ...]:
    """Return the memory map of another process; nothing if it has ended, or is not seen here."""
    try:
        return read_memory_map(process)
    except OSError:
        return ()


def root_of(process: Target) -> str:
    """Return what comes before its paths: something in a container or chroot.

    Also of a process that has ended, or is closed to us: no path of it may lead to a file here.
    """
    root = process.proc("root")
    try:
        return "" if _has_our_root(process, root) else root
    except OSError:
        return root if process.handover is None else ""  # a recorder has its target's root


def _has_our_root(process: Target, root: str) -> bool:
    same_mounts = Path(process.proc("ns/mnt")).samefile("/proc/self/ns/mnt")
    return same_mounts and Path(root).samefile("/")


def parse_auxiliary(data: bytes) -> Mapping[int, int]:
    """Return the values of /proc/PID/auxv by their types, see getauxval(3)."""
    words = [int.from_bytes(data[at : at + 8], sys.byteorder) for at in range(0, len(data), 8)]
    return dict(zip(words[::2], words[1::2], strict=True))
