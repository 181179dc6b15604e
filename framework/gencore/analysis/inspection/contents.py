"""Finds what objects of a dumped process have: their types, attributes and items."""

from collections.abc import Iterator
from typing import Final

from gencore.analysis.inspection.attributes import dictionary_of, values_without_dictionary
from gencore.analysis.inspection.containers import Item, items_of, length_of
from gencore.analysis.inspection.objects import read_text
from gencore.analysis.inspection.type_facts import TypeFacts, TypeReader
from gencore.analysis.interpreter.python import Python

__all__ = ["Contents"]

_MOST_ITEMS: Final = 1 << 20
_MOST_ATTRIBUTES: Final = 1 << 12


class Contents:
    """The objects of a dumped Python, each found by its address."""

    def __init__(self, python: Python) -> None:
        """Read from a Python's memory."""
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._types = TypeReader(python)

    def type_of(self, address: int) -> TypeFacts:
        """Return what the type of an object is. Raises `AbsentMemory` if it is no object."""
        return self._types.of(address)

    def type_at(self, address: int) -> TypeFacts:
        """Return what the type at an address is. Raises `AbsentMemory` if none is there."""
        return self._types.at(address)

    def type_name(self, address: int) -> str:
        """Return the qualified name of an object's type, with its module if not ``builtins``.

        Raises `AbsentMemory`.
        """
        return self._types.of(address).name

    def attributes(self, address: int) -> dict[str, int]:
        """Return the attributes of an object by name: the addresses of their values.

        They are those of its ``__dict__``, 4,096 of them at most, and of ``__slots__``; of types
        made in C the members that are objects, of a cell its content. Raises `AbsentMemory`.
        """
        facts = self._types.of(address)
        places = facts.members
        if "cell" in facts.lineage:
            places = {"cell_contents": self._layout.content_of_cell}
        members = {name: self._memory.word(address + at) for name, at in places.items()}
        found = {name: value for name, value in members.items() if value}
        for name, value in self._named(facts, address):
            if "str" in self._types.of(name).lineage:
                found[self.text(name)] = value
        return found

    def items(self, address: int, most: int = _MOST_ITEMS) -> Iterator[Item]:
        """Yield the items of a dict, list, tuple, set, frozenset, deque or what inherits of these.

        Each is the address of a key, None unless it is of a dict, and of a value. At most *most*
        places are looked at, of which dicts and sets leave some empty. Raises `AbsentMemory`.
        """
        return items_of(self._types.of(address).lineage, self._python, address, most)

    def length(self, address: int) -> int | None:
        """Return how many items a container has, None of anything else. Raises `AbsentMemory`."""
        return length_of(self._types.of(address).lineage, self._python, address)

    def text(self, address: int, most: int = 4096) -> str:
        """Return at most *most* characters of a str. Raises `AbsentMemory`."""
        return read_text(self._memory, self._layout, address, most)

    def _named(self, facts: TypeFacts, address: int) -> Iterator[tuple[int, int]]:
        """Yield what is in an object's ``__dict__``."""
        dictionary = dictionary_of(self._python, facts, address)
        if not dictionary:
            yield from values_without_dictionary(self._python, facts, address, _MOST_ATTRIBUTES)
            return
        for key, value in self.items(dictionary, _MOST_ATTRIBUTES):
            if key is not None:
                yield key, value

    def _lineage(self, address: int) -> tuple[str, ...]:
        return self._types.of(address).lineage
