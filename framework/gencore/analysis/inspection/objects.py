"""Reads single Python objects out of a dumped process: text, bytes, the names of types."""

import re
from contextlib import suppress
from typing import Final

from gencore.analysis.inspection.key_tables import entries_of
from gencore.analysis.interpreter.layouts import Layout
from gencore.analysis.interpreter.memory import AbsentMemory, Memory

__all__ = [
    "SIZE_AT",
    "TYPE_AT",
    "TYPE_NAME_AT",
    "find_in_dict",
    "is_named",
    "name_in_c",
    "name_of_type",
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
_LONGEST_NAME: Final = 500
_STATIC_NAME: Final = re.compile(r"[\w.<>\- \[\]|]+")
_LONGEST_BYTES: Final = 1 << 24
_MOST_ENTRIES: Final = 1 << 10
_ENCODINGS: Final = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


def type_name(memory: Memory, thing: int) -> str:
    """Return the name of an object's type, ``tp_name``. Raises `AbsentMemory`."""
    type_address = memory.word(thing + TYPE_AT)
    return memory.string(memory.word(type_address + TYPE_NAME_AT)).decode(errors="replace")


def is_named(memory: Memory, layout: Layout, address: int, *, of_heap: bool) -> bool:
    """Whether a type has a name, as each has: in C, or as a str, which may be any.

    *of_heap* is whether it was made at run time. Then the name in C says nothing: it is what the
    str is in UTF-8, and may be empty.
    """
    try:
        if not of_heap:
            return bool(_static_name(memory, address))
        name = memory.word(address + layout.qualified_name_of_type)
        return type_name(memory, name) == "str"
    except AbsentMemory:
        return False


def name_in_c(memory: Memory, layout: Layout, address: int, *, of_heap: bool) -> str:
    """Return the name that C gave a type, with its module; "" if Python code made the type.

    Raises `AbsentMemory`.
    """
    name = _static_name(memory, address)
    if not of_heap or not name:
        return name
    with suppress(AbsentMemory):
        qualified = memory.word(address + layout.qualified_name_of_type)
        own = read_text(memory, layout, qualified, _LONGEST_NAME)
        return name if name.endswith(f".{own}") else ""
    return name if "." in name else ""


def _static_name(memory: Memory, address: int) -> str:
    """Return a type's ``tp_name``; "" if it is missing, or none that C code has."""
    at = memory.word(address + TYPE_NAME_AT)
    try:
        name = memory.string(at).decode()
    except (AbsentMemory, UnicodeDecodeError):
        return ""
    return name if len(name) <= _LONGEST_NAME and _STATIC_NAME.fullmatch(name) else ""


def name_of_type(memory: Memory, layout: Layout, address: int, *, of_heap: bool) -> str:
    """Return the qualified name of a type, with its module unless that is ``builtins``.

    *of_heap* is whether the type was made at run time: others have it all in their ``tp_name``.
    Raises `AbsentMemory`.
    """
    name = name_in_c(memory, layout, address, of_heap=of_heap)
    if not of_heap or name:
        return name
    try:
        text = memory.word(address + layout.qualified_name_of_type)
        name = read_text(memory, layout, text, _LONGEST_NAME)
        contents = memory.word(address + layout.dict_of_type)
        module = find_in_dict(memory, layout, contents, "__module__")
        prefix = read_text(memory, layout, module, _LONGEST_NAME) if module else ""
    except AbsentMemory:
        return name
    return name if prefix in {"", "builtins"} else f"{prefix}.{name}"


def read_text(memory: Memory, layout: Layout, text: int, most: int = _LONGEST_TEXT) -> str:
    """Return a str, at most *most* characters of it. Raises `AbsentMemory`."""
    length = min(memory.word(text + _LENGTH_AT), most)
    state = memory.word(text + _STATE_AT)
    width, compact, ascii_only = state >> 2 & 7, state >> 5 & 1, state >> 6 & 1
    if width not in _ENCODINGS:
        raise AbsentMemory(f"the object at {text:#x} is not a str")
    if compact:
        content = text + (layout.ascii_head if ascii_only else layout.text_head)
    else:  # of a subclass
        content = memory.word(text + layout.text_head)
    return memory.read(content, length * width).decode(_ENCODINGS[width], "replace")


def read_bytes(memory: Memory, thing: int) -> bytes:
    """Return a bytes object. Raises `AbsentMemory`, too if it has more than 16 MiB."""
    size = memory.word(thing + SIZE_AT)
    if size > _LONGEST_BYTES:
        raise AbsentMemory(f"the object at {thing:#x} is not a bytes object")
    return memory.read(thing + _CONTENT_OF_BYTES_AT, size)


def find_in_dict(memory: Memory, layout: Layout, dictionary: int, key: str) -> int | None:
    """Return the address of a value, among the first 1,024 entries; None if it is not there.

    Raises `AbsentMemory`.
    """
    keys, values = (
        memory.word(dictionary + at) for at in (layout.keys_of_dict, layout.values_of_dict)
    )
    first = values + layout.values_in_values if values else 0
    entries = entries_of(memory, keys, first, _MOST_ENTRIES)
    return next((value for name, value in entries if _is_text(memory, layout, name, key)), None)


def _is_text(memory: Memory, layout: Layout, thing: int, text: str) -> bool:
    return (
        memory.word(thing + _LENGTH_AT) == len(text)
        and type_name(memory, thing) == "str"
        and read_text(memory, layout, thing) == text
    )
