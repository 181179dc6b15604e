"""Says what is known of the types of single objects: names, bases, flags, members in C.

Each type is read once. What is called a type by an object is believed only if its own type is a
metatype, as Include/object.h has it.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import attrs

from gencore.analysis.inspection.objects import (
    SIZE_AT,
    TYPE_AT,
    name_in_c,
    name_of_type,
)
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["TypeFacts", "TypeReader"]

_INLINE_VALUES, _MANAGED_DICT, _HEAP_TYPE, _READY, _IS_TYPE = (1 << n for n in (2, 4, 9, 12, 31))
"""Bits of ``tp_flags``."""
_OBJECT_MEMBERS: Final = (6, 16)
"""``_Py_T_OBJECT`` and ``Py_T_OBJECT_EX`` of Include/descrobject.h; the latter of slots."""
_MOST_BASES, _MOST_MEMBERS, _LARGEST_OFFSET = 64, 256, 1 << 20
_MOST_TYPES: Final = 1 << 15


@attrs.frozen(kw_only=True, eq=False)
class TypeFacts:
    """One type."""

    address: int
    name: str
    """Qualified, with the module unless that is ``builtins``."""
    order: tuple[int, ...]
    """The addresses of itself and its bases, in the order of ``__mro__``."""
    lineage: tuple[str, ...]
    """The names of itself and its bases as far as they are made in C, the nearest first."""
    is_built_in: bool
    """Whether `lineage` begins with its own name."""
    has_managed_dict: bool
    has_inline_values: bool
    basic_size: int
    item_size: int
    dict_offset: int
    """Where an object has the address of its dictionary; 0 if nowhere, negative from its end."""
    members: dict[str, int]
    """Where it has the objects of its ``__slots__``, and of what is like these in C."""


class TypeReader:
    """Reads the types of objects."""

    def __init__(self, python: Python) -> None:
        """Read from a Python's memory."""
        self._memory, self._layout = python.memory, python.layout
        self._known: dict[int, TypeFacts | None] = {}

    def of(self, thing: int) -> TypeFacts:
        """Return what the type of an object is. Raises `AbsentMemory` if it is no object."""
        return self.at(self._memory.word(thing + TYPE_AT))

    def at(self, address: int) -> TypeFacts:
        """Return what the type at an address is. Raises `AbsentMemory` if none is there."""
        if address not in self._known:
            if len(self._known) >= _MOST_TYPES:
                self._known.clear()
            self._known[address] = self._read(address)
        facts = self._known[address]
        if facts is None:
            raise AbsentMemory(f"no type at {address:#x}")
        return facts

    def _read(self, address: int) -> TypeFacts | None:
        try:
            return self._facts(address) if self._is_type(address) else None
        except AbsentMemory:
            return None

    def _is_type(self, address: int) -> bool:
        metatype = self._memory.word(address + TYPE_AT)
        return bool(self._flags(address) & _READY and self._flags(metatype) & _IS_TYPE)

    def _flags(self, address: int) -> int:
        return self._memory.word(address + self._layout.flags_of_type)

    def _facts(self, address: int) -> TypeFacts:
        memory, layout, flags = self._memory, self._layout, self._flags(address)
        bases = (address, *self._bases(address))
        in_c = {base: name for base in bases if (name := self._name_in_c(base))}
        return TypeFacts(
            address=address,
            name=name_of_type(memory, layout, address, of_heap=bool(flags & _HEAP_TYPE)),
            order=bases,
            lineage=tuple(in_c.values()),
            is_built_in=address in in_c,
            has_managed_dict=bool(flags & _MANAGED_DICT),
            has_inline_values=bool(flags & _INLINE_VALUES),
            basic_size=memory.number(address + layout.basic_size_of_type, 8),
            item_size=memory.number(address + layout.item_size_of_type, 8),
            dict_offset=memory.number(address + layout.dict_offset_of_type, 8),
            members={name: at for base in reversed(bases) for name, at in self._members(base)},
        )

    def _bases(self, address: int) -> Iterator[int]:
        """Yield the rest of a type's ``__mro__``."""
        with suppress(AbsentMemory):
            order = self._memory.word(address + self._layout.mro_of_type)
            for index in range(1, min(self._memory.word(order + SIZE_AT), _MOST_BASES)):
                yield self._memory.word(order + self._layout.items_of_tuple + 8 * index)

    def _name_in_c(self, address: int) -> str:
        """Return the name of a static type, or of one that C made with its module; else ""."""
        with suppress(AbsentMemory):
            heap = bool(self._flags(address) & _HEAP_TYPE)
            return name_in_c(self._memory, self._layout, address, of_heap=heap)
        return ""

    def _members(self, address: int) -> Iterator[tuple[str, int]]:
        memory, layout = self._memory, self._layout
        with suppress(AbsentMemory):
            row = memory.word(address + layout.members_of_type)
            for _ in range(_MOST_MEMBERS if row else 0):
                if not (text := memory.word(row)):
                    return
                offset = memory.word(row + layout.offset_of_member)
                kind = memory.number(row + layout.kind_of_member, 4)
                name = memory.string(text).decode(errors="replace")
                if kind in _OBJECT_MEMBERS and offset < _LARGEST_OFFSET and name != "__dict__":
                    yield name, offset
                row += layout.size_of_member
