"""Finds the thread that runs an interpreter: up to 3.12 that of a sub-interpreter may be another.

There a sub-interpreter's only thread state is of the thread that made it, whichever runs it. Each
call of the evaluation loop keeps a record on the stack of the thread that it runs on, and the
thread state has its address.
"""

import struct
from collections.abc import Mapping
from typing import Final

from gencore.analysis.interpreter.memory import Memory
from gencore.corefile import CoreFile

__all__ = ["runner_of", "stack_pointers"]

_RSP: Final = struct.Struct("<264xQ")
"""``struct elf_prstatus`` of a 64-bit kernel on x86-64, up to the register."""


def stack_pointers(core: CoreFile) -> dict[int, int]:
    """Return where the stack of each thread ends, by tid; none unless it is x86-64."""
    if core.machine != "EM_X86_64":
        return {}
    pairs = zip(core.thread_ids, core.thread_states, strict=True)
    return {tid: _RSP.unpack_from(data)[0] for tid, data in pairs if len(data) >= _RSP.size}


def runner_of(memory: Memory, pointers: Mapping[int, int], record: int) -> int | None:
    """Return the thread on whose stack a record lies; None if it lies on none."""
    below = [(pointer, tid) for tid, pointer in pointers.items() if pointer <= record]
    pointer, tid = max(below, default=(0, 0))
    piece = memory.piece_at(record)
    return tid if piece is not None and piece.start <= pointer < piece.end else None
