"""Finds the threads that sleep in futex(2), and the word of memory that each sleeps on.

Registers are those of x86-64, as ``struct elf_prstatus`` of a 64-bit kernel has them.
"""

import struct
from collections.abc import Mapping
from typing import Final

import attrs

__all__ = ["Sleep", "identities_in", "sleeping_threads"]

_REGISTERS: Final = struct.Struct("<112x27Q")
"""``struct elf_prstatus``, up to the end of ``struct user_regs_struct``."""
_R10, _RSI, _RDI, _FS_BASE = 7, 13, 14, 21
"""The fourth, second and first argument of a system call, and what glibc's thread begins at."""
_COMMAND: Final = 0x7F
"""Of the second argument of futex(2); the other bits are flags."""
_WAITS: Final = (0, 9)
"""``FUTEX_WAIT``, ``FUTEX_WAIT_BITSET``: another thread may be about to wake those that wait."""
_LOWEST: Final = 1 << 12
"""Address: nothing is mapped in the first page."""


@attrs.frozen
class Sleep:
    """A thread in futex(2)."""

    address: int
    forever: bool
    """False if it has a time limit."""


def sleeping_threads(registers: Mapping[int, bytes]) -> dict[int, Sleep]:
    """Return the threads in futex(2) by tid; *registers* has the ``elf_prstatus`` of each."""
    rows = {tid: _values(data) for tid, data in registers.items()}
    return {
        tid: Sleep(values[_RDI], not values[_R10])
        for tid, values in rows.items()
        if values and values[_RSI] & _COMMAND in _WAITS and _may_be_futex(values[_RDI])
    }


def _may_be_futex(address: int) -> bool:
    """Whether it is a word that can be mapped: in other calls a descriptor is in its place."""
    return address >= _LOWEST and address % 4 == 0


def identities_in(registers: Mapping[int, bytes]) -> dict[int, int]:
    """Return the tid of each thread by its ``pthread_self()``, which glibc has in a register."""
    rows = {tid: _values(data) for tid, data in registers.items()}
    return {values[_FS_BASE]: tid for tid, values in rows.items() if values}


def _values(data: bytes) -> tuple[int, ...]:
    return _REGISTERS.unpack_from(data) if len(data) >= _REGISTERS.size else ()
