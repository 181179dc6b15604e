"""Reads single Python objects out of a dumped process: text, bytes, the names of types."""

from typing import Final

from gencore.analysis.layouts import Layout
from gencore.analysis.memory import AbsentMemory, Memory

__all__ = [
    "SIZE_AT",
    "TYPE_AT",
    "TYPE_NAME_AT",
    "find_in_dict",
    "read_bytes",
    "read_text",
    "type_name",
]

TYPE_AT: Final = 8
SIZE_AT: Final = 16
TYPE_NAME_AT: Final = 24
_LENGTH_AT, _STATE_AT, _CONTENT_OF_BYTES_AT = 16, 32, 32
_LONGEST_TEXT: Final = 4096
"""Characters; what is longer is cut off."""
_LONGEST_BYTES: Final = 1 << 24
_KEYS_OF_DICT_AT: Final = 32
_LOG2_INDEX_BYTES_AT, _KIND_AT, _ENTRIES_AT, _INDICES_AT = 9, 10, 24, 32
"""In a dictionary's table of keys, ``PyDictKeysObject``."""
_GENERAL_KIND: Final = 0
"""Entries of hash, key and value; the other kinds have no hash, because each key is a str."""
_MOST_ENTRIES: Final = 1 << 10
_LARGEST_INDICES: Final = 20
"""As a power of two, bytes."""
_ENCODINGS: Final = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


def type_name(memory: Memory, thing: int) -> str:
    """Return the name of an object's type, ``tp_name``. Raises `AbsentMemory`."""
    type_address = memory.word(thing + TYPE_AT)
    return memory.string(memory.word(type_address + TYPE_NAME_AT)).decode(errors="replace")


def read_text(memory: Memory, layout: Layout, text: int) -> str:
    """Return a compact str, at most 4,096 characters of it. Raises `AbsentMemory`."""
    length = min(memory.word(text + _LENGTH_AT), _LONGEST_TEXT)
    state = memory.word(text + _STATE_AT)
    width, compact, ascii_only = state >> 2 & 7, state >> 5 & 1, state >> 6 & 1
    if not compact or width not in _ENCODINGS:
        raise AbsentMemory(f"the object at {text:#x} is not a compact str")
    head = layout.ascii_head if ascii_only else layout.text_head
    return memory.read(text + head, length * width).decode(_ENCODINGS[width], "replace")


def read_bytes(memory: Memory, thing: int) -> bytes:
    """Return a bytes object. Raises `AbsentMemory`, too if it has more than 16 MiB."""
    size = memory.word(thing + SIZE_AT)
    if size > _LONGEST_BYTES:
        raise AbsentMemory(f"the object at {thing:#x} is not a bytes object")
    return memory.read(thing + _CONTENT_OF_BYTES_AT, size)


def find_in_dict(memory: Memory, layout: Layout, dictionary: int, key: str) -> int | None:
    """Return the address of a value, among the first 1,024 entries. Raises `AbsentMemory`.

    None if it is not there, or if the dictionary shares its keys with others.
    """
    keys = memory.word(dictionary + _KEYS_OF_DICT_AT)
    log2_bytes = min(memory.number(keys + _LOG2_INDEX_BYTES_AT, 1) & 0xFF, _LARGEST_INDICES)
    first = keys + _INDICES_AT + (1 << log2_bytes)
    general = memory.number(keys + _KIND_AT, 1) == _GENERAL_KIND
    size, key_at = (24, 8) if general else (16, 0)
    for index in range(min(memory.word(keys + _ENTRIES_AT), _MOST_ENTRIES)):
        entry = first + index * size + key_at
        name, value = memory.word(entry), memory.word(entry + 8)
        if name and value and _is_text(memory, layout, name, key):
            return value
    return None


def _is_text(memory: Memory, layout: Layout, thing: int, text: str) -> bool:
    return (
        memory.word(thing + _LENGTH_AT) == len(text)
        and type_name(memory, thing) == "str"
        and read_text(memory, layout, thing) == text
    )
