"""Finds the memory cgroup of a process that limits it most, and how much room is left in it.

Loads little, as `gencore.arming`.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["MemoryCgroup", "free_memory", "memory_cgroup", "room_for_clone"]

_TOP = "/sys/fs/cgroup"
_UNLIMITED = 1 << 60
"""Bytes; version 1 has a number of about 2**63 for no limit."""


class MemoryCgroup(NamedTuple):
    """Where its numbers are. Empty without a limit."""

    usage: str = ""
    limit: str = ""
    statistics: str = ""
    version: int = 2


def memory_cgroup(pid: int | str = "self") -> MemoryCgroup:
    """Return the one with the lowest limit of those that a process is in."""
    limits = [(limit, level) for level in _levels(pid) if (limit := _number(level.limit))]
    limit, level = min(limits, default=(_UNLIMITED, MemoryCgroup()))
    return level if limit < _UNLIMITED else MemoryCgroup()


def free_memory() -> int:
    """Return the bytes that the machine has free, whatever its cgroups allow; 0 if unknown."""
    try:
        return _row("/proc/meminfo", "MemAvailable:") * 1024
    except OSError:
        return 0


def room_for_clone(pid: int) -> tuple[int, int] | None:
    """Return the bytes that are free for a process, and those that a clone of it may copy.

    It copies what the process rewrites meanwhile: at most its private memory. None if unknown.
    """
    try:
        private = _row(f"/proc/{pid}/status", "RssAnon:") * 1024
    except OSError:
        return None
    free = free_memory()
    level = memory_cgroup(pid)
    limit = _number(level.limit)
    if limit is not None:
        idle = "total_inactive_file" if level.version == 1 else "inactive_file"
        used = (_number(level.usage) or 0) - _row(level.statistics, idle)
        free = min(free, max(limit - used, 0))
    return free, private


def _levels(pid: int | str) -> Iterator[MemoryCgroup]:
    """Yield those that the process is in, as far as they are visible here."""
    for row in _read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = row.split(":", 2)
        if controllers == "":
            top, names, version = _TOP, ("memory.current", "memory.max"), 2
        elif "memory" in controllers.split(","):
            top, version = f"{_TOP}/memory", 1
            names = ("memory.usage_in_bytes", "memory.limit_in_bytes")
        else:
            continue
        for folder in _upwards(path):
            usage, limit = (f"{top}{folder}/{name}" for name in names)
            yield MemoryCgroup(usage, limit, f"{top}{folder}/memory.stat", version)


def _upwards(path: str) -> Iterator[str]:
    """Yield it and those above it; none if it is outside of what is visible here ("/../other")."""
    if ".." in path.split("/"):
        return
    while path not in {"", "/"}:
        yield path
        path = os.path.dirname(path)  # noqa: PTH120 - no objects
    yield ""


def _read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123 - no objects
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int | None:
    """Return the number in a file; None without one, or where it is "max"."""
    text = _read(path).strip() if path else ""
    return int(text) if text.isdecimal() else None


def _row(path: str, name: str) -> int:
    with open(path) as file:  # noqa: PTH123 - no objects
        rows = (row.split() for row in file)
        return next((int(row[1]) for row in rows if row[0] == name), 0)
