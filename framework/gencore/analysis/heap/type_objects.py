"""Finds every type of a dumped Python: by what its metatype is, from ``type`` on.

A type object is larger than any block of a pool, so it lies in memory from malloc, or, if it is
static, in the data of the interpreter or of a library. No list leads to all of them.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.inspection.objects import TYPE_AT, is_named, name_of_type
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Mask, Run, Words

__all__ = ["TypeTable", "bases_of", "find_types", "names_of", "types_at"]

_BASIC_SIZE_AT, _ITEM_SIZE_AT, _FLAGS_AT, _BASE_AT = 32, 40, 168, 256
"""The same in all versions, as are those in `gencore.analysis.inspection.objects`."""
_HEAP_TYPE, _READY, _HAS_GC = (np.uint64(1 << bit) for bit in (9, 12, 14))
_IS_TEXT, _IS_TYPE = np.uint64(1 << 28), np.uint64(1 << 31)
"""Bits of tp_flags: Include/object.h."""
_PREHEADER: Final = {11: np.uint64(1 << 4)}
"""Bits for a pointer to a dictionary and another one in front of an object; later two of them."""
_LATER_PREHEADER: Final = np.uint64(3 << 3)
_PART: Final = 16
"""Bytes of each part in front of an object: the collector's, and those two pointers."""
_LARGEST_OBJECT, _LARGEST_ITEM = 1 << 20, 1 << 16
_MOST_TYPES: Final = 1 << 15
_MOST_METATYPES: Final = 4
"""Times that metatypes are looked for: those of `type`, those of these, and so on."""
_DEEPEST: Final = 64
"""Bases of a type in a row."""
_SLOTS: Final = 1 << 16
_ALIGNMENT: Final = 4
"""Bits of an address that are 0 in that of any type."""
_PIECE: Final = 1 << 17
"""Words that are compared at a time, so that they stay in the processor's cache."""

Numbers = NDArray[np.int64]
Rows = NDArray[np.int32]


@attrs.frozen(eq=False)
class TypeTable:
    """Types in order of address; each array has a row for each."""

    addresses: Addresses
    metatypes: Addresses
    basic_sizes: Numbers
    item_sizes: Numbers
    flags: Addresses
    bases: Addresses
    preheaders: Numbers
    """Bytes between the beginning of a block and the object in it."""

    def __len__(self) -> int:
        return len(self.addresses)

    def find(self, words: Addresses) -> Rows:
        """Return for each word the row of the type whose address it is, or -1."""
        rows = np.empty(len(words), np.int32)
        _blocks.rows_of_words(np.ascontiguousarray(words), self.slots, self.addresses, rows)
        return rows

    def within(self, run: Run) -> Iterator[tuple[Addresses, Numbers]]:
        """Yield where words of a run are types, and the rows of these."""
        for first in range(0, len(run.words), _PIECE):
            rows = self.find(run.words[first : first + _PIECE])
            known = np.flatnonzero(rows >= 0)
            places = known.astype(np.uint64) + np.uint64(first)
            yield np.uint64(run.start) + places * np.uint64(8), rows[known].astype(np.int64)

    @property
    def has_gc(self) -> Mask:
        """Whether the collector's header is in front of each type's objects."""
        return self._flagged(_HAS_GC)

    @property
    def are_metatypes(self) -> Mask:
        """Whether each type's objects are types."""
        return self._flagged(_IS_TYPE)

    @property
    def are_texts(self) -> Mask:
        """Whether each type's objects may be smaller than their basic size, as a str is."""
        return self._flagged(_IS_TEXT)

    @property
    def are_heap_types(self) -> Mask:
        """Whether each was made at run time."""
        return self._flagged(_HEAP_TYPE)

    def _flagged(self, bit: np.uint64) -> Mask:
        flagged: Mask = self.flags & bit != 0
        return flagged

    @cached_property
    def slots(self) -> Rows:
        """The row of each type where its address leads to in a table, or in the next free slot.

        Of 32,768 types at most: half of the table is free. -1 is where none is.
        """
        slots = np.full(_SLOTS, -1, np.int32)
        for row, address in enumerate(self.addresses[: _SLOTS // 2].tolist()):
            slot = address >> _ALIGNMENT & _SLOTS - 1
            while slots[slot] >= 0:
                slot = slot + 1 & _SLOTS - 1
            slots[slot] = row
        return slots

    def chosen(self, which: Mask | Numbers) -> "TypeTable":
        """Return some of them."""
        names = [field.name for field in attrs.fields(type(self)) if field.init]
        return TypeTable(*(getattr(self, name)[which] for name in names))


def find_types(python: Python, words: Words, runs: Iterable[Run]) -> TypeTable:
    """Return the types in some writable memory; none if ``type`` itself is not there."""
    runs = list(runs)
    known = _look_at(python, words, _candidates_for_type(runs))
    known = known.chosen(_named_type(python, known))
    metatypes = known
    for _ in range(_MOST_METATYPES):
        if not len(metatypes):
            break
        found = _look_at(python, words, _instances(metatypes, runs))
        new = np.flatnonzero(~np.isin(found.addresses, known.addresses))
        found = found.chosen(new[: _MOST_TYPES - len(known)])
        known = _joined(known, found)
        metatypes = found.chosen(found.are_metatypes)
    return known


def types_at(python: Python, words: Words, addresses: Iterable[int]) -> TypeTable:
    """Return the types at some addresses, without those that cannot be types."""
    table = _look_at(python, words, np.array([*addresses], np.uint64))
    return table.chosen(np.argsort(table.addresses))


def names_of(python: Python, types: TypeTable) -> list[str]:
    """Return the qualified name of each type, with its module unless that is ``builtins``."""
    pairs = zip(types.addresses, types.are_heap_types, strict=True)
    memory, layout = python.memory, python.layout
    return [
        name_of_type(memory, layout, int(address), of_heap=bool(heap)) for address, heap in pairs
    ]


def bases_of(types: TypeTable, row: int) -> Iterator[int]:
    """Yield the rows of a type and its bases, itself first."""
    for _ in range(_DEEPEST):
        yield row
        following = types.find(types.bases[row : row + 1])[0]
        if following < 0:
            return
        row = int(following)


def _candidates_for_type(runs: list[Run]) -> Addresses:
    """Return what is its own type, in the data of files."""
    found = []
    for run in runs:
        if run.path is not None:
            own = np.uint64(run.start) + np.arange(
                len(run.words) - 1, dtype=np.uint64
            ) * np.uint64(8)
            found.append(own[run.words[1:] == own])
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def _named_type(python: Python, types: TypeTable) -> Numbers:
    own = [row for row, name in enumerate(names_of(python, types)) if name == "type"]
    return np.array(own[:1], np.int64)


def _instances(metatypes: TypeTable, runs: list[Run]) -> Addresses:
    places = [places for run in runs for places, _ in metatypes.within(run)]
    return np.concatenate(places) - np.uint64(TYPE_AT) if places else np.zeros(0, np.uint64)


def _look_at(python: Python, words: Words, addresses: Addresses) -> TypeTable:
    """Return those of the candidates that may be types."""

    def at(offset: int) -> Addresses:
        return words.at(addresses + np.uint64(offset))[0]

    flags, references = at(_FLAGS_AT), at(0)
    basic, item = at(_BASIC_SIZE_AT), at(_ITEM_SIZE_AT)
    gc = np.where(flags & _HAS_GC != 0, _PART, 0)
    managed = flags & _PREHEADER.get(python.minor, _LATER_PREHEADER) != 0
    table = TypeTable(
        addresses,
        at(TYPE_AT),
        basic.view(np.int64),
        item.view(np.int64),
        flags,
        at(_BASE_AT),
        (gc + np.where(managed, _PART, 0)).astype(np.int64),
    )
    sound = (flags & _READY != 0) & (references != 0) & (basic >= 2 * 8)
    sound &= (basic <= _LARGEST_OBJECT) & (item <= _LARGEST_ITEM)
    rows = np.flatnonzero(sound)[:_MOST_TYPES]
    chosen = table.chosen(rows)
    pairs = zip(chosen.addresses.tolist(), chosen.are_heap_types.tolist(), strict=True)
    memory, layout = python.memory, python.layout
    named = [is_named(memory, layout, address, of_heap=heap) for address, heap in pairs]
    return chosen.chosen(np.flatnonzero(named))


def _joined(first: TypeTable, second: TypeTable) -> TypeTable:
    names = [field.name for field in attrs.fields(TypeTable) if field.init]
    joined = TypeTable(
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names)
    )
    return joined.chosen(np.argsort(joined.addresses))
