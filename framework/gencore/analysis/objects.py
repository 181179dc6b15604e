"""Reads single Python objects out of a dumped process: text, bytes, the names of types."""

from typing import Final

from gencore.analysis.layouts import Layout
from gencore.analysis.memory import AbsentMemory, Memory

__all__ = ["SIZE_AT", "TYPE_AT", "TYPE_NAME_AT", "read_bytes", "read_text", "type_name"]

TYPE_AT: Final = 8
SIZE_AT: Final = 16
TYPE_NAME_AT: Final = 24
_LENGTH_AT, _STATE_AT, _CONTENT_OF_BYTES_AT = 16, 32, 32
_LONGEST_TEXT: Final = 4096
"""Characters; what is longer is cut off."""
_LONGEST_BYTES: Final = 1 << 24
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
