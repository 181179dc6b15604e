"""Finds the symbols and the end of a loaded ELF file, in the memory of the process that loaded it.

Formats: elf(5), and the GNU hash table of the linker. What the dynamic linker needs is there in
stripped files too.
"""

import struct
from collections.abc import Iterator
from typing import Final

from gencore.analysis.interpreter.memory import AbsentMemory, Memory

__all__ = ["end_of_image", "find_symbol"]

_HEADER: Final = struct.Struct("<4sB27xQ14xHH")
"""``Elf64_Ehdr``: magic number, class, e_phoff, e_phentsize, e_phnum."""
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
"""``Elf64_Sym``: name, info, other, section, value, size."""
_TAG: Final = struct.Struct("<qQ")
_HASH_HEAD: Final = struct.Struct("<IIII")
"""Buckets, number of the first symbol with a hash, words of the Bloom filter, its shift."""
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 5, 6, 0x6FFFFEF5
_MOST: Final = 1 << 12
"""Program headers, tags of the dynamic section, symbols in one chain."""


def find_symbol(memory: Memory, base: int, name: str) -> int | None:
    """Return the address of a symbol of the file that is loaded at *base*.

    None if the file does not define it, or if what leads to it is malformed or missing.
    """
    try:
        return next(_addresses(memory, base, name.encode()), None)
    except AbsentMemory:
        return None


def end_of_image(memory: Memory, base: int) -> int | None:
    """Return the address behind all that the file loaded at *base* has: data that began as zeros.

    None if it is no ELF file, or if its headers are missing.
    """
    try:
        rows = _program_headers(memory, base)
    except AbsentMemory:
        return None
    loaded = [(at, size) for kind, _, _, at, _, _, size, _ in rows if kind == _PT_LOAD]
    bias = base - min((at for at, _ in loaded), default=0)
    return max((bias + at + size for at, size in loaded), default=None)


def _program_headers(memory: Memory, base: int) -> list[tuple[int, ...]]:
    """Return each ``Elf64_Phdr``; none of what is no 64-bit ELF file. Raises `AbsentMemory`."""
    head = memory.read(base, _HEADER.size)
    magic, bits, offset, size, count = _HEADER.unpack(head)
    if (magic, bits, size) != (b"\x7fELF", 2, _PROGRAM_HEADER.size):
        return []
    rows = memory.read(base + offset, min(count, _MOST) * size)
    return list(_PROGRAM_HEADER.iter_unpack(rows))


def _addresses(memory: Memory, base: int, name: bytes) -> Iterator[int]:
    bias, tags = _dynamic_section(memory, base)
    table, symbols, strings = (
        _loaded(tags.get(tag), bias) for tag in (_DT_GNU_HASH, _DT_SYMTAB, _DT_STRTAB)
    )
    if not (table and symbols and strings):
        return
    for index in _same_hash(memory, table, _gnu_hash(name)):
        row = memory.read(symbols + index * _SYMBOL.size, _SYMBOL.size)
        at, _, _, section, value, _ = _SYMBOL.unpack(row)
        if section and memory.read(strings + at, len(name) + 1) == name + b"\0":
            yield bias + value


def _dynamic_section(memory: Memory, base: int) -> tuple[int, dict[int, int]]:
    """Return what is added to the file's own addresses, and its dynamic tags."""
    segments = [(row[0], row[3]) for row in _program_headers(memory, base)]
    bias = base - min((at for kind, at in segments if kind == _PT_LOAD), default=0)
    at = next((bias + at for kind, at in segments if kind == _PT_DYNAMIC), None)
    return bias, {} if at is None else dict(_tags(memory, at))


def _tags(memory: Memory, at: int) -> Iterator[tuple[int, int]]:
    for index in range(_MOST):
        tag, value = _TAG.unpack(memory.read(at + index * _TAG.size, _TAG.size))
        if not tag:
            return
        yield tag, value


def _loaded(address: int | None, bias: int) -> int | None:
    """Return where a table is: glibc has added the bias to its address, other linkers have not."""
    if address is None or address >= bias:
        return address
    return bias + address


def _same_hash(memory: Memory, table: int, wanted: int) -> Iterator[int]:
    """Yield the numbers of the symbols whose names may be the one that is looked for."""
    buckets, first, filters, _ = _HASH_HEAD.unpack(memory.read(table, _HASH_HEAD.size))
    if not buckets:
        return
    rows = table + _HASH_HEAD.size + filters * 8
    index = memory.number(rows + wanted % buckets * 4, 4)
    for number in range(index, index + _MOST) if index >= first else ():
        found = memory.number(rows + (buckets + number - first) * 4, 4)
        if (found ^ wanted) & 0xFFFFFFFE == 0:
            yield number
        if found & 1:  # the last of the chain
            return


def _gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value
