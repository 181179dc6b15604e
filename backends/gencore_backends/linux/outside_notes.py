"""The notes of the core of another process: its registers, what it was; see core(5), elf(5).

``struct elf_prstatus`` and ``struct elf_prpsinfo`` are laid out alike on x86-64 and aarch64.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from gencore.target import Target
from gencore_backends.linux.outside_map import Mapping
from gencore_backends.linux.outside_pages import PAGE
from gencore_backends.linux.process_access import thread_name

__all__ = ["Process", "TracedThread", "make_notes"]

_HEADER: Final = struct.Struct("=III")
_PRSTATUS: Final = struct.Struct("=12xh2xQQiiii64x")
"""Signal, pending, blocked, pid, ppid, pgrp, sid; before the registers."""
_FP_VALID: Final = struct.Struct("=i4x")
_PRPSINFO: Final = struct.Struct("=bcbb4xQIIiiii16s80s")
_NT_PRSTATUS, _NT_PRFPREG, _NT_PRPSINFO, _NT_AUXV = 1, 2, 3, 6
_NT_FILE, _NT_SIGINFO, _NT_GENCORE = 0x46494C45, 0x53494749, 0x47435231
_SIGINFO_SIZE: Final = 128
_STAT_PPID: Final = 1
"""Where /proc/PID/stat has the parent, counted behind the name; then the group and the session."""


@attrs.frozen
class TracedThread:
    """A thread at the instant: its registers as notes, and how they were taken."""

    tid: int
    quality: str
    reason: str | None
    sets: tuple[tuple[int, bytes], ...]
    """Type and bytes of each; the general registers come first. Empty if they are missing."""


@attrs.frozen
class Process:
    """What the notes say of a process besides its threads."""

    pid: int
    parent: int
    group: int
    session: int
    user: int
    user_group: int
    name: bytes
    arguments: bytes
    auxiliary: bytes

    @classmethod
    def read(cls, pid: int, clone: int) -> "Process":
        """Read it; the auxiliary vector from the clone. Raises OSError."""
        folder = Path(f"/proc/{pid}")
        stat = (folder / "stat").read_bytes()
        parent, group, session = stat.rpartition(b")")[2].split()[_STAT_PPID : _STAT_PPID + 3]
        owner = folder.stat()
        return cls(
            pid=pid,
            parent=int(parent),
            group=int(group),
            session=int(session),
            user=owner.st_uid,
            user_group=owner.st_gid,
            name=(folder / "comm").read_bytes().rstrip(b"\n"),
            arguments=(folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" "),
            auxiliary=Path(f"/proc/{clone}/auxv").read_bytes(),
        )


def make_notes(
    process: Process,
    threads: Sequence[TracedThread],
    mappings: Sequence[Mapping],
    stop_seconds: float,
) -> bytes:
    """Return all notes, the main thread's first: debuggers select that one."""
    known = [thread for thread in threads if thread.sets]
    known.sort(key=lambda thread: thread.tid != process.pid)  # the others stay in order
    rows: list[bytes] = []
    for number, thread in enumerate(known):
        rows.append(_status(process, thread))
        if number == 0:  # debuggers look for the process between the first two threads
            rows += _of_process(process, mappings)
        rows += (_note(_owner(kind), kind, data) for kind, data in thread.sets[1:])
    rows.append(_own(process, threads, stop_seconds))
    return b"".join(rows)


def _note(owner: bytes, kind: int, data: bytes) -> bytes:
    name = owner + b"\0"
    return _HEADER.pack(len(name), len(data), kind) + _padded(name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _owner(kind: int) -> bytes:
    return b"CORE" if kind == _NT_PRFPREG else b"LINUX"


def _status(process: Process, thread: TracedThread) -> bytes:
    ids = (thread.tid, process.parent, process.group, process.session)
    has_fp = any(kind == _NT_PRFPREG for kind, _ in thread.sets)
    registers = thread.sets[0][1]
    data = _PRSTATUS.pack(0, 0, 0, *ids) + registers + _FP_VALID.pack(has_fp)
    return _note(b"CORE", _NT_PRSTATUS, data)


def _of_process(process: Process, mappings: Sequence[Mapping]) -> Iterator[bytes]:
    ids = (process.pid, process.parent, process.group, process.session)
    owner = (process.user, process.user_group)
    info = _PRPSINFO.pack(
        0, b"R", 0, 0, 0, *owner, *ids, process.name[:15], process.arguments[:79]
    )
    yield _note(b"CORE", _NT_PRPSINFO, info)
    yield _note(b"CORE", _NT_SIGINFO, bytes(_SIGINFO_SIZE))  # no signal
    yield _note(b"CORE", _NT_AUXV, process.auxiliary)
    yield _note(b"CORE", _NT_FILE, _files(mappings))


def _files(mappings: Sequence[Mapping]) -> bytes:
    """Return the count, the page size, {start, end, page of the file} for each, then the names."""
    rows = [mapping.row for mapping in mappings if mapping.row.inode and mapping.row.name]
    words = [len(rows), PAGE]
    for row in rows:
        words += row.start, row.end, row.offset // PAGE
    names = b"".join(os.fsencode(row.name) + b"\0" for row in rows)
    return struct.pack(f"={len(words)}Q", *words) + names


def _own(process: Process, threads: Sequence[TracedThread], stop_seconds: float) -> bytes:
    """Return our own note: lines of text, as native/notes.c writes them."""
    lines = ["gencore-note 1", "backend linux-ptrace", f"stop_ns {int(stop_seconds * 1e9)}"]
    for thread in threads:
        name = thread_name(thread.tid, Target(process.pid))
        plain = "".join(letter if letter >= " " else "?" for letter in name)
        lines.append(f"thread {thread.tid} {thread.quality} {plain}")
    data = "".join(f"{line}\n" for line in lines)
    return _note(b"GENCORE", _NT_GENCORE, data.encode(errors="replace"))
