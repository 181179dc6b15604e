"""Whether limits leave room for a dump: those of processes, and those of the memory cgroup."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gencore._quantities import show_size
from gencore._runtime.platform_agent import agent
from gencore.cli.diagnosis.row import Case, Row, State
from gencore.cli.diagnosis.status import read_status
from gencore.errors import Unsupported
from gencore.target import Target

__all__ = ["address_space", "descriptors", "file_size", "memory", "processes"]

_DESCRIPTORS: Final = 12
"""What a dump may have open at a time, see `gencore._pipeline.room`."""
_THREADS: Final = 4
"""A clone, a recorder, and their threads."""
_UNLIMITED: Final = "unlimited"
_RECORDER: Final = 64 << 20
"""Bytes that a recorder takes: 47 MiB with the built-in plug-ins, and some for others."""


def file_size(case: Case) -> Iterator[Row]:
    """Compare the largest file with ``ulimit -f`` of this process: it would write the file."""
    name = "file_size_limit_bytes"
    limit = _limit(Target(), "file size")
    if limit == math.inf:
        yield Row(name, "ok", None, _UNLIMITED)
    elif limit is not None:
        short = case.largest is not None and limit < case.largest
        need = f"; a dump may need {show_size(case.largest or 0)}" if short else ""
        remedy = "ulimit -f unlimited" if short else None
        text = show_size(int(limit)) + need
        yield Row(name, "warning" if short else "ok", int(limit), text, remedy)


def address_space(case: Case) -> Iterator[Row]:
    """Compare ``ulimit -v`` with what the process has mapped."""
    name = "address_space_limit_bytes"
    limit = _limit(case.target, "address space")
    if limit == math.inf:
        yield Row(name, "ok", None, _UNLIMITED)
    elif limit is not None:
        mapped = int(read_status(case.target).get("VmSize", "0").split()[0]) * 1024
        short = limit - mapped < _RECORDER
        text = f"{show_size(int(limit))}, of which {show_size(mapped)} are mapped"
        remedy = "ulimit -v unlimited" if short else None
        yield Row(name, "warning" if short else "ok", int(limit), text, remedy)


def descriptors(case: Case) -> Iterator[Row]:
    """Compare ``ulimit -n`` with what the process has open."""
    limit = _limit(case.target, "open files")
    try:
        used = len(os.listdir(case.target.process_file("fd")))
    except OSError:
        return
    if limit is not None:
        yield _free("free_descriptors", limit, used, _DESCRIPTORS, "ulimit -n 4096")


def processes(case: Case) -> Iterator[Row]:
    """Compare ``ulimit -u`` with the threads of the target's user; root has no limit."""
    limit = _limit(case.target, "processes")
    user = _user(case.target)
    if user not in {None, "0"} and limit is not None:
        others = (Target(int(name)) for name in os.listdir("/proc") if name.isdecimal())
        rows = [read_status(other) for other in others if _user(other) == user]
        used = sum(int(row.get("Threads", 0)) for row in rows)
        yield _free("free_processes", limit, used, _THREADS, "ulimit -u unlimited")


def _free(name: str, limit: float, used: int, needed: int, remedy: str) -> Row:
    """Return the row of a limit of which a part is used already."""
    if limit == math.inf:
        return Row(name, "ok", None, _UNLIMITED)
    free = max(0, int(limit) - used)
    text = f"{free:,} of {int(limit):,}"
    if free >= needed:
        return Row(name, "ok", free, text)
    return Row(name, "warning", free, f"{text}; a dump may need {needed}", remedy)


def _user(target: Target) -> str | None:
    """Return the real user ID of a process, which limits count by; None if it has ended."""
    user: list[str] = read_status(target).get("Uid", "").split()[:1]
    return user[0] if user else None


def memory(case: Case) -> Iterator[Row]:
    """Compare what its cgroup and the machine leave with what a clone and a recorder may take."""
    room = _room_for_clone(case.target)
    if room is None:
        return
    free, copied = room
    if case.target.other is None:
        state: State = "ok" if free >= _RECORDER else "warning"
        text = f"{show_size(free)}; compare with a service: gencore doctor --pid PID"
        yield Row("free_memory_bytes", state, free, text)
        return
    short = free < copied + _RECORDER
    takes = f"a clone may copy {show_size(copied)}, a recorder takes {show_size(_RECORDER)}"
    remedy = f"gencore dump --fit {case.target.pid}" if short else None
    state = "warning" if short else "ok"
    yield Row("free_memory_bytes", state, free, f"{show_size(free)}; {takes}", remedy)


def _room_for_clone(target: Target) -> tuple[int, int] | None:
    if target.hidden is not None:
        return None
    try:
        return agent().room_for_clone(target.pid)
    except Unsupported:
        return None


def _limit(target: Target, name: str) -> float | None:
    """Return the soft limit of a process, or infinity; None if it cannot be read."""
    try:
        lines = Path(target.process_file("limits")).read_text().splitlines()
    except OSError:
        return None
    start = f"Max {name} "
    soft = next(line.removeprefix(start).split()[0] for line in lines if line.startswith(start))
    return math.inf if soft == _UNLIMITED else int(soft)
