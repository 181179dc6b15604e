"""Finds what single containers have: the addresses of their items, and how many these are.

Sources: Objects/dictobject.c, listobject.c, tupleobject.c, setobject.c, and
Modules/_collectionsmodule.c of CPython 3.11 to 3.15. Memory that is missing raises
`AbsentMemory`, after the items before it.
"""

from collections.abc import Callable, Iterator
from typing import Final

from gencore.analysis.inspection.key_tables import entries_of
from gencore.analysis.inspection.objects import SIZE_AT
from gencore.analysis.interpreter.python import Python

__all__ = ["Item", "items_of", "length_of"]

Item = tuple[int | None, int]
"""The address of a key, None in what has no keys, and of a value."""
Reader = Callable[[Python, int, int], Iterator[Item]]

_SET_ENTRY, _REMOVED = 16, -1
"""A key and its hash, which is -1 of a removed one."""
_USED_OF_DICT, _USED_OF_SET = 16, 24
_LEFT_BLOCK_AT, _LEFT_INDEX_AT = 24, 40
"""In a ``dequeobject``."""
_FIRST_IN_BLOCK, _ITEMS_IN_BLOCK, _NEXT_BLOCK_AT = 8, 64, 520
"""In its ``BLOCK``."""


def items_of(lineage: tuple[str, ...], python: Python, thing: int, most: int) -> Iterator[Item]:
    """Yield the items of a container of a type with these bases; nothing of anything else.

    At most *most* places are looked at, of which dictionaries and sets leave some empty.
    """
    reader = next((_ITEMS[name][0] for name in lineage if name in _ITEMS), None)
    return iter(()) if reader is None else reader(python, thing, most)


def length_of(lineage: tuple[str, ...], python: Python, thing: int) -> int | None:
    """Return how many items a container has, None of anything else. Raises `AbsentMemory`."""
    at = next((_ITEMS[name][1] for name in lineage if name in _ITEMS), None)
    return None if at is None else python.memory.word(thing + at)


def _of_dict(python: Python, thing: int, most: int) -> Iterator[Item]:
    layout, word = python.layout, python.memory.word
    values = word(thing + layout.values_of_dict)
    first = values + layout.values_in_values if values else 0
    return entries_of(python.memory, word(thing + layout.keys_of_dict), first, most)


def _of_list(python: Python, thing: int, most: int) -> Iterator[Item]:
    word = python.memory.word
    return _in_a_row(python, word(thing + python.layout.items_of_list), thing, most)


def _of_tuple(python: Python, thing: int, most: int) -> Iterator[Item]:
    return _in_a_row(python, thing + python.layout.items_of_tuple, thing, most)


def _in_a_row(python: Python, first: int, thing: int, most: int) -> Iterator[Item]:
    for index in range(min(python.memory.word(thing + SIZE_AT), most)):
        if value := python.memory.word(first + 8 * index):
            yield None, value


def _of_set(python: Python, thing: int, most: int) -> Iterator[Item]:
    memory, layout = python.memory, python.layout
    table, mask = (memory.word(thing + at) for at in (layout.table_of_set, layout.mask_of_set))
    for entry in range(table, table + min(mask + 1, most) * _SET_ENTRY, _SET_ENTRY):
        key = memory.word(entry)
        if key and memory.number(entry + 8, 8) != _REMOVED:
            yield None, key


def _of_deque(python: Python, thing: int, most: int) -> Iterator[Item]:
    word = python.memory.word
    block, index = word(thing + _LEFT_BLOCK_AT), word(thing + _LEFT_INDEX_AT)
    for place in range(index, index + min(word(thing + SIZE_AT), most)):
        if place > index and not place % _ITEMS_IN_BLOCK:
            block = word(block + _NEXT_BLOCK_AT)
        if value := word(block + _FIRST_IN_BLOCK + 8 * (place % _ITEMS_IN_BLOCK)):
            yield None, value


_ITEMS: Final[dict[str, tuple[Reader, int]]] = {
    "dict": (_of_dict, _USED_OF_DICT),
    "frozendict": (_of_dict, _USED_OF_DICT),
    "list": (_of_list, SIZE_AT),
    "tuple": (_of_tuple, SIZE_AT),
    "set": (_of_set, _USED_OF_SET),
    "frozenset": (_of_set, _USED_OF_SET),
    "collections.deque": (_of_deque, SIZE_AT),
}
"""By the name of the type whose layout it is: the reader, and where the number of items is."""
