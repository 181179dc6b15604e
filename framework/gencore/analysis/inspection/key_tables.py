"""Reads a dictionary's table of keys, ``PyDictKeysObject`` of pycore_dict.h since CPython 3.11."""

from collections.abc import Iterator
from typing import Final

from gencore.analysis.interpreter.memory import Memory

__all__ = ["entries_of"]

_LOG2_INDEX_BYTES_AT, _KIND_AT, _ENTRIES_AT, _INDICES_AT = 9, 10, 24, 32
_GENERAL_KIND: Final = 0
"""Entries of hash, key and value; the other kinds have no hash, because each key is a str."""
_LARGEST_INDICES: Final = 40
"""As a power of two, bytes."""


def entries_of(memory: Memory, keys: int, values: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield the addresses of keys and values, of at most *most* entries.

    *values* is where the values are if the table is shared by several dictionaries, or else 0.
    Raises `AbsentMemory`.
    """
    log2_bytes = min(memory.number(keys + _LOG2_INDEX_BYTES_AT, 1) & 0xFF, _LARGEST_INDICES)
    first = keys + _INDICES_AT + (1 << log2_bytes)
    general = memory.number(keys + _KIND_AT, 1) == _GENERAL_KIND
    size, key_at = (24, 8) if general else (16, 0)
    for index in range(min(memory.word(keys + _ENTRIES_AT), most)):
        entry = first + index * size + key_at
        key, value = memory.word(entry), memory.word(values + 8 * index if values else entry + 8)
        if key and value:
            yield key, value
