"""Finds the attributes of single objects: those in ``__dict__``, whichever form it has.

Sources: Objects/dictobject.c, Objects/object.c and pycore_object.h of CPython 3.11 to 3.15. An
object may have its values without a dictionary, whose keys are then its type's; a dictionary with
keys of its own; or one that has the values of the object and the keys of its type.
"""

from collections.abc import Iterator
from typing import Final

from gencore.analysis.inspection.key_tables import entries_of
from gencore.analysis.inspection.objects import SIZE_AT
from gencore.analysis.inspection.type_facts import TypeFacts
from gencore.analysis.interpreter.python import Python

__all__ = ["dictionary_of", "values_without_dictionary"]

_DICT_AT, _VALUES_AT = -24, -32
"""``MANAGED_DICT_OFFSET``; 3.11 has the values in front of it, 3.12 either of them there."""
_VALUES_APART, _VALUES_OR_DICT = 11, 12
"""Minor versions; later ones have the values behind the object."""
_IS_VALUES: Final = 1
_VALID_AT: Final = 3
"""In ``PyDictValues``, since 3.13: 0 once a dictionary has taken them over."""


def dictionary_of(python: Python, facts: TypeFacts, thing: int) -> int:
    """Return the address of an object's dictionary, 0 if it has none. Raises `AbsentMemory`."""
    if facts.has_managed_dict:
        found = python.memory.word(thing + _DICT_AT)
        return 0 if python.minor == _VALUES_OR_DICT and found & _IS_VALUES else found
    if not facts.dict_offset:
        return 0
    end = _size(python, facts, thing) if facts.dict_offset < 0 else 0
    return python.memory.word(thing + end + facts.dict_offset)


def values_without_dictionary(
    python: Python, facts: TypeFacts, thing: int, most: int
) -> Iterator[tuple[int, int]]:
    """Yield names and values of an object that has no dictionary. Raises `AbsentMemory`."""
    values = _values(python, facts, thing) if facts.has_managed_dict else 0
    if values:
        keys = python.memory.word(facts.address + python.layout.cached_keys_of_type)
        yield from entries_of(python.memory, keys, values + python.layout.values_in_values, most)


def _values(python: Python, facts: TypeFacts, thing: int) -> int:
    memory = python.memory
    if python.minor == _VALUES_APART:
        return memory.word(thing + _VALUES_AT)
    if python.minor == _VALUES_OR_DICT:
        found = memory.word(thing + _DICT_AT)
        return found + 1 if found & _IS_VALUES else 0
    behind = thing + facts.basic_size
    valid = facts.has_inline_values and memory.number(behind + _VALID_AT, 1)
    return behind if valid else 0


def _size(python: Python, facts: TypeFacts, thing: int) -> int:
    """Return the bytes of an object with items: its dictionary's address is behind them.

    So it is in 3.11; of later versions only types made in C have it there.
    """
    count = abs(python.memory.number(thing + SIZE_AT, 8))
    return facts.basic_size + count * facts.item_size + 7 & ~7
