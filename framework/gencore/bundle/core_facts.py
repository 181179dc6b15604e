"""What a core says of its process, in the form of a manifest: notes, threads, memory.

The notes are those of core(5) and the kernel's ``linux/elfcore.h``, of a 64-bit machine.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from gencore.corefile import NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, CoreFile, ProgramHeader

__all__ = ["executable_of", "facts_of"]

_PRPSINFO: Final = struct.Struct("<4s4xQIIiiii16s80s")
"""``struct elf_prpsinfo``: state, flags, uid, gid, pid, ppid, pgrp, sid, fname, psargs."""
_AUXV: Final = struct.Struct("<QQ")
_AT_PHDR: Final = 3
"""The address of the executable's own program headers, in its first mapping."""
_SIGNAL: Final = struct.Struct("<i")
"""The first word of NT_SIGINFO and of NT_PRSTATUS; 0 if no signal ended the process."""
_READ, _WRITE, _EXECUTE = 4, 2, 1


def facts_of(core: CoreFile, size: int) -> dict[str, Any]:
    """Return what a manifest would say, as far as the core knows it. Raises `IntegrityError`."""
    process = _process(core)
    threads = list(_threads(core))
    return {
        "core": {
            "format": "elf",
            "size": size,
            "expected_size": core.promised_size,
            "truncated": size < core.promised_size,
            "incomplete": core.why_incomplete(),
            "threads": len(threads),
        },
        "process": {**process, "executable": _executable(core), "threads": len(threads)},
        "trigger": _trigger(core),
        "threads": threads,
        "memory": list(_memory(core)),
        "libraries": [{"path": path, "build_id": found} for path, found in core.build_ids.items()],
    }


def executable_of(core: CoreFile) -> str | None:
    """Return the path of the executable, or None if the core does not say it."""
    auxv = dict(_AUXV.iter_unpack(_whole_rows(_note(core, "NT_AUXV"))))
    address = auxv.get(_AT_PHDR)
    if address is None:
        return None
    found = (row.path for row in core.mapped_ranges if row.start <= address < row.end)
    return next(found, None)


def _executable(core: CoreFile) -> dict[str, Any] | None:
    path = executable_of(core)
    if path is None:
        return None
    build_id = {"gnu": core.build_ids.get(path)}
    return {"path": path, "name": PurePosixPath(path).name, "build_id": build_id}


def _process(core: CoreFile) -> dict[str, Any]:
    data = _note(core, NT_PRPSINFO)
    if len(data) < _PRPSINFO.size:
        return {}
    _, _, uid, gid, pid, parent, _, _, name, title = _PRPSINFO.unpack_from(data)
    return {
        "pid": pid,
        "parent_pid": parent,
        "title": _text(title).strip() or _text(name),
        "user": {"id": uid},
        "group": {"id": gid},
    }


def _trigger(core: CoreFile) -> dict[str, Any] | None:
    notes = (_note(core, name) for name in (NT_SIGINFO, NT_PRSTATUS))
    numbers = (_SIGNAL.unpack_from(data)[0] for data in notes if len(data) >= _SIGNAL.size)
    number = next(filter(None, numbers), None)
    return None if number is None else {"kind": "signal", "signal": number}


def _threads(core: CoreFile) -> Iterator[dict[str, Any]]:
    """Yield those with registers, and those that one of our backends has recorded beside them."""
    recorded = {thread.tid: thread for thread in core.recorded_threads}
    for tid in dict.fromkeys((*core.thread_ids, *recorded)):
        thread = recorded.get(tid)
        yield {
            "tid": tid,
            "name": thread.name if thread else None,
            "registers": thread.registers if thread else "exact",
            "python": None,
        }


def _memory(core: CoreFile) -> Iterator[dict[str, Any]]:
    files = sorted(core.mapped_ranges, key=lambda row: row.start)
    for header in core.program_headers:
        at = bisect_right(files, header.address, key=lambda row: row.start) - 1
        path = files[at].path if at >= 0 and header.address < files[at].end else None
        yield {
            "start": f"0x{header.address:x}",
            "end": f"0x{header.address + header.memory_size:x}",
            "size": header.memory_size,
            "permissions": _permissions(header),
            "path": path,
            "kind": _kind(header, path),
        }


def _permissions(header: ProgramHeader) -> str:
    flags = ((_READ, "r"), (_WRITE, "w"), (_EXECUTE, "x"))
    return "".join(letter if header.flags & flag else "-" for flag, letter in flags)


def _kind(header: ProgramHeader, path: str | None) -> str:
    if not header.flags & (_READ | _WRITE | _EXECUTE):
        return "reserved"
    if path is None:
        return "anonymous"
    return "code" if header.flags & _EXECUTE else "file"


def _note(core: CoreFile, kind: str) -> bytes:
    found = (note.data for note in core.notes if (note.owner, note.type) == ("CORE", kind))
    return next(found, b"")


def _whole_rows(data: bytes) -> bytes:
    return data[: len(data) // _AUXV.size * _AUXV.size]


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
