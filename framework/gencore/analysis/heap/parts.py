"""Where objects have their references: the words that each owns, by the layout of its type.

An object owns the words of its block that its type declares, and those of its buffers that are in
use: items of a list, entries of a dictionary, values of an instance. Memory that is free, or that
it only borrows (a weak reference's object, the list of weak references to itself), is left out,
because what it has there keeps nothing alive.

The sources are the structures in CPython's headers, and of numpy's array.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.formulas import BYTEARRAYS_OF_BYTES, Kind
from gencore.analysis.heap.type_objects import TypeTable, bases_of
from gencore.analysis.inspection.objects import SIZE_AT, TYPE_AT
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Things, Words

__all__ = ["Owned", "Part", "TypeLayouts", "part_of_frames", "part_of_members"]

Numbers = NDArray[np.int64]
_Blocks = tuple[Numbers, Addresses, Numbers, Numbers]
Way = Literal["member", "index", "entry", "value", "element", "attribute", "local", "name"]

_WORD: Final = 8
_FIRST_MEMBER: Final = 2 * _WORD
_WEAK_LIST_OFFSET_AT: Final = 208
"""In a type object; Include/cpython/object.h."""
_INLINE_VALUES, _MANAGED_DICT = np.uint64(1 << 2), np.uint64(1 << 4)
"""Bits of tp_flags."""
_INLINE: Final = 13
"""The first minor version that has values behind the instance."""
_VALUES_OF_OLD_AT, _DICT_AT = -32, -24
"""In front of an instance; 3.12 has one word for both, with its lowest bit set for values."""
_BYTES_OF_BYTEARRAY_AT: Final = 56
_ENTRIES_AT, _INDICES_AT = 24, 32
"""In a dictionary's table of keys."""
_MOST_LOG2: Final = 47
_BLOCK_ITEMS: Final = 64
"""Of a deque, between the links to the block before and to the one behind."""
_MOST_BLOCKS: Final = 1 << 12
"""Of deques that are looked at together."""
_STACK_AT: Final = 64
"""In a frame: how many variables and values it has, 32 bits; since 3.14 a pointer behind them."""
_STACK_POINTERS: Final = 14
_NEVER_SET_OF_CODE_AT: Final = 184
"""Since 3.14: ``_co_unique_id``, which only free-threaded builds set; it keeps what was there."""
_MOST_SLOTS: Final = 1 << 20
_MOST_ATTRIBUTES: Final = 1 << 8
"""Whose names instances share: no version has more than 30."""
_MOST_MEMBERS: Final = 1 << 12
"""Words of an object itself: a str may be smaller than its type says, if that is damaged."""
_LONG: Final = 1 << 10
"""Words of a part that may be more than there are: what is shorter costs nothing."""
_OBJECT_KIND: Final = ord("O")
"""Of a numpy.dtype."""


@attrs.frozen(eq=False)
class Part:
    """Entries, one behind the other, in which some objects have references."""

    way: Way
    owners: Numbers
    """Which of the objects each row is of."""
    begins: Addresses
    counts: Numbers
    """Words that are references: `width` of each entry."""
    stride: int = 1
    """Words of an entry."""
    width: int = 1
    """Words at its beginning that are references."""
    firsts: Numbers | None = None
    """What comes before each row, in words, if a row is not all of an object."""

    def places(self, rows: Numbers, positions: Numbers) -> Addresses:
        """Return the addresses of words, given by their rows and their positions in these."""
        words = positions
        if self.stride != self.width:
            words = positions // self.width * self.stride + positions % self.width
        return self.begins[rows] + (words * _WORD).view(np.uint64)

    def chosen(self, rows: Numbers) -> "Part":
        """Return some rows of it."""
        firsts = None if self.firsts is None else self.firsts[rows]
        columns = self.owners[rows], self.begins[rows], self.counts[rows]
        return Part(self.way, *columns, self.stride, self.width, firsts)


@attrs.frozen(eq=False)
class Owned:
    """The layout of one type."""

    members: tuple[int, ...]
    """Offsets of words in the object."""
    parts: Callable[[Things], Iterator[Part]]
    has_references: bool = True
    """False if there is neither the one nor the other."""


class TypeLayouts:
    """The layouts of the types of a dumped Python."""

    def __init__(self, python: Python, words: Words, types: TypeTable, names: list[str]) -> None:
        self.words, self.types = words, types
        self._python, self._names = python, names
        self._weak_lists, self._dicts, self._cached_keys = (
            words.at(types.addresses + np.uint64(offset))[0].view(np.int64)
            for offset in (
                _WEAK_LIST_OFFSET_AT,
                python.layout.dict_offset_of_type,
                python.layout.cached_keys_of_type,
            )
        )

    def of(self, row: int) -> Owned:
        """Return the layout of the type in a row."""
        rule, base = self._rule(row)
        kind = self._kind(base)
        basic = int(self.types.basic_sizes[row])
        own = () if kind.item_size else range(kind.basic_size + 7 & ~7, basic - 7, _WORD)
        members = [*rule.members(kind), *own][:_MOST_MEMBERS]
        managed = bool(self.types.flags[row] & _MANAGED_DICT)
        if managed:
            members.append(_DICT_AT)
        without = int(self._weak_lists[row])

        def parts(things: Things) -> Iterator[Part]:
            yield from (self._within_memory(part) for part in rule.parts(kind, things))
            if managed:
                yield from self._values(row, things)
            elif self._dicts[row] < 0:
                yield self._dict_behind(row, things)
            if self.types.are_metatypes[row]:
                yield _names_of_attributes(kind, things)

        members = [member for member in members if member != without]
        more = managed or self._dicts[row] < 0 or self.types.are_metatypes[row]
        return Owned(tuple(members), parts, bool(members or more or rule is not _LEAF))

    def row_of(self, name: str) -> int:
        """Return the row of a type by its name, -1 if it was not found."""
        return self._names.index(name) if name in self._names else -1

    def keys_of_attributes(self, row: int) -> int:
        """Return the address of the table that has the names of an instance's attributes, or 0."""
        found = int(self._cached_keys[row]) if self.types.flags[row] & _MANAGED_DICT else 0
        return max(0, found)  # a negative number is an address of the kernel's

    def _rule(self, row: int) -> tuple["_Rule", int]:
        """Return the rule of the nearest base that has one, and its row; else of `object`'s."""
        base = row
        for base in bases_of(self.types, row):
            if self._names[base] in _RULES:
                return _RULES[self._names[base]], base
        return _OTHER, row

    def _kind(self, row: int) -> Kind:
        basic, item = (int(c[row]) for c in (self.types.basic_sizes, self.types.item_sizes))
        return Kind(self.words, self._python, basic, item)

    def _values(self, row: int, things: Things) -> Iterator[Part]:
        """Yield the values of attributes where there is no dictionary."""
        keys, minor = self.keys_of_attributes(row), self._python.minor
        count = int(self.words.at(np.array([keys + _ENTRIES_AT], np.uint64))[0][0]) if keys else 0
        if minor >= _INLINE:
            values = things.addresses + np.uint64(int(self.types.basic_sizes[row]))
            state = things.word(int(self.types.basic_sizes[row]) & ~7)
            valid = state >> np.uint64(24) & np.uint64(0xFF) != 0
            used = valid & (things.word(_DICT_AT) == 0)
            used &= bool(self.types.flags[row] & _INLINE_VALUES)
        elif minor == _INLINE - 1:
            word = things.word(_DICT_AT)
            values, used = word + np.uint64(1), word & np.uint64(1) != 0
        else:
            values = things.word(_VALUES_OF_OLD_AT)
            used = values != 0
        begins = values + np.uint64(self._python.layout.values_in_values)
        yield _part("attribute", begins, np.where(used, min(count, _MOST_ATTRIBUTES), 0))

    def _within_memory(self, part: Part) -> Part:
        """Return a part that ends where memory does: a damaged count has what lies before that."""
        long = np.flatnonzero(part.counts > _LONG)
        if not len(long):
            return part
        entries, rest = np.divmod(self.words.room(part.begins[long]), part.stride)
        counts = part.counts.copy()
        most = entries * part.width + np.minimum(rest, part.width)
        counts[long] = np.minimum(counts[long], most)
        return attrs.evolve(part, counts=counts)

    def _dict_behind(self, row: int, things: Things) -> Part:
        """Return the dictionary of an object with items, behind these."""
        size = self.types.basic_sizes[row] + self.types.item_sizes[row] * np.abs(
            things.number(SIZE_AT)
        )
        places = things.addresses + ((size + 7 & ~7) + self._dicts[row]).view(np.uint64)
        return _part("member", places, np.ones(len(things), np.int64))


def _part(way: Way, begins: Addresses, counts: Numbers, stride: int = 1, width: int = 1) -> Part:
    """Return a part that has a row for each object that has words."""
    owners = np.flatnonzero(counts > 0)
    return Part(way, owners, begins[owners], counts[owners], stride, width)


def _nothing(_kind: Kind, _things: Things) -> Iterator[Part]:
    yield from ()


def _no_members(_kind: Kind) -> tuple[int, ...]:
    return ()


def _all_members(kind: Kind) -> range:
    return range(_FIRST_MEMBER, kind.basic_size - 7, _WORD)


def _items(kind: Kind, things: Things) -> Iterator[Part]:
    """Yield items that are references, if they are as large as one; tuples have such."""
    if kind.item_size == _WORD:
        begins = things.addresses + np.uint64(kind.basic_size)
        yield _part("index", begins, np.abs(things.number(SIZE_AT)))


def _list(kind: Kind, things: Things) -> Iterator[Part]:
    yield _part("index", things.word(kind.python.layout.items_of_list), things.number(SIZE_AT))


def _dict(kind: Kind, things: Things) -> Iterator[Part]:
    layout = kind.python.layout
    keys, values = things.word(layout.keys_of_dict), things.word(layout.values_of_dict)
    logs, counts = kind.at(keys, 8), kind.at(keys, _ENTRIES_AT)
    first = keys + (_INDICES_AT + (1 << np.minimum(logs >> 8 & 0xFF, _MOST_LOG2))).view(np.uint64)
    split, general = values != 0, logs >> 16 & 0xFF == 0
    of_texts, of_all = (np.where(which, 2 * counts, 0) for which in (~general, general))
    yield _part("entry", first, np.where(split, 0, of_texts), 2, 2)
    yield _part("entry", first + np.uint64(_WORD), np.where(split, 0, of_all), 3, 2)
    begins = values + np.uint64(layout.values_in_values)
    yield _part("value", begins, np.where(split, counts, 0))


def _set(kind: Kind, things: Things) -> Iterator[Part]:
    layout = kind.python.layout
    counts = things.number(layout.mask_of_set) + 1
    yield _part("element", things.word(layout.table_of_set), counts, 2)


def _deque(kind: Kind, things: Things) -> Iterator[Part]:
    """Yield the items, those of many blocks together."""
    rows: list[_Blocks] = []
    count = 0
    for blocks in _blocks_of_deques(kind, things):
        rows.append(blocks)
        count += len(blocks[0])
        if count >= _MOST_BLOCKS:
            yield _part_of_blocks(rows)
            rows, count = [], 0
    if rows:
        yield _part_of_blocks(rows)


def _blocks_of_deques(kind: Kind, things: Things) -> Iterator[_Blocks]:
    """Yield the first blocks of all deques, then the next ones; of blocks in a ring, each once.

    A ring is noticed when a block leads to one that was passed before: the last one whose number
    is a power of two.
    """
    left, block, at = things.number(SIZE_AT), things.word(24), np.clip(things.number(40), 0, 63)
    done, owners = np.zeros(len(things), np.int64), np.flatnonzero(left > 0)
    passed, number, budget = block.copy(), 0, kind.words.most_references
    while len(owners) and budget > 0:
        count = np.minimum(left[owners], _BLOCK_ITEMS - at[owners])
        begins = block[owners] + ((1 + at[owners]) * _WORD).view(np.uint64)
        yield owners, begins, count, done[owners]
        budget -= int(count.sum())
        left[owners] -= count
        done[owners] += count
        at[owners] = 0
        following = kind.at(block[owners], (1 + _BLOCK_ITEMS) * _WORD).view(np.uint64)
        going = (left[owners] > 0) & (following != 0) & (following != passed[owners])
        block[owners] = following
        owners, number = owners[going], number + 1
        if number & (number - 1) == 0:
            passed[owners] = block[owners]


def _part_of_blocks(rows: list[_Blocks]) -> Part:
    owners, begins, counts, firsts = map(np.concatenate, zip(*rows, strict=True))
    return Part("index", owners, begins, counts, firsts=firsts)


def part_of_members(things: Things, offset: int) -> Part:
    """Return the words at an offset of objects."""
    begins = things.addresses + np.int64(offset).view(np.uint64)
    return Part("member", np.arange(len(things)), begins, np.ones(len(things), np.int64))


def part_of_frames(kind: Kind, frames: Addresses, alive: NDArray[np.bool_]) -> Part:
    """Return the variables of frames, and the values on their stacks as far as these are known."""
    layout = kind.python.layout
    code = frames + np.uint64(layout.code_of_frame)
    code = kind.at(code).view(np.uint64) & np.uint64(~7 & 0xFFFFFFFFFFFFFFFF)
    slots = kind.at(code, layout.slots_of_code & ~7) >> 8 * (layout.slots_of_code & 7)
    slots = slots & 0xFFFFFFFF
    stack = kind.at(frames, _STACK_AT)
    begins = frames + np.uint64(layout.locals_of_frame)
    if kind.python.minor >= _STACK_POINTERS:
        depth = (stack - begins.view(np.int64)) // _WORD
    else:
        depth = stack.astype(np.int32).astype(np.int64)
    is_code = kind.at(code, TYPE_AT) != 0
    counts = np.where((depth >= slots) & (depth < _MOST_SLOTS), depth, slots)
    return _part("local", begins, np.where(alive & is_code, np.minimum(counts, _MOST_SLOTS), 0))


def _generator(kind: Kind, things: Things) -> Iterator[Part]:
    head = kind.basic_size - kind.python.layout.locals_of_frame
    state = things.word(head - _WORD) >> np.uint64(24) & np.uint64(0xFF)
    alive = state.astype(np.int8) <= kind.python.layout.executing_state
    yield part_of_frames(kind, things.moved(head).addresses, alive)


def _of_generator(kind: Kind) -> list[int]:
    """Return all but what the frame only borrows: the variables of its module, and builtins."""
    layout = kind.python.layout
    borrowed = kind.basic_size - layout.locals_of_frame + layout.namespace_of_frame
    return [at for at in _all_members(kind) if at not in (borrowed - 2 * _WORD, borrowed - _WORD)]


def _of_code(kind: Kind) -> list[int]:
    members = _all_members(kind)
    if kind.python.minor < _STACK_POINTERS:
        return [*members]
    return [at for at in members if at != _NEVER_SET_OF_CODE_AT]


def _of_bytearray(kind: Kind) -> tuple[int, ...]:
    return (_BYTES_OF_BYTEARRAY_AT,) if kind.python.minor >= BYTEARRAYS_OF_BYTES else ()


def _before_frame(kind: Kind) -> range:
    return range(_FIRST_MEMBER, kind.basic_size - kind.python.layout.locals_of_frame, _WORD)


def _frame(kind: Kind, things: Things) -> Iterator[Part]:
    """Yield the variables of a frame object that has them itself: those of a call that is over."""
    frames = things.word(24)
    own = things.moved(kind.basic_size - kind.python.layout.locals_of_frame).addresses
    yield part_of_frames(kind, frames, frames == own)


def _array(kind: Kind, things: Things) -> Iterator[Part]:
    """Yield the items of an array of objects that owns them."""
    kinds = kind.at(things.word(56), 24) & 0xFF
    count = np.ones(len(things), np.int64)
    dimensions = things.number(24) & 0xFFFFFFFF
    for number in range(min(int(np.max(dimensions, initial=0)), 64)):
        length = np.clip(kind.at(things.word(32), number * _WORD), 0, 1 << 31)
        count = np.where(number < dimensions, np.minimum(count * length, 1 << 31), count)
    owned = (kinds == _OBJECT_KIND) & (things.word(48) == 0)
    yield _part("index", things.word(16), np.where(owned, count, 0))


def _names_of_attributes(kind: Kind, things: Things) -> Part:
    """Return the keys that the instances of a type share."""
    keys = things.word(kind.python.layout.cached_keys_of_type)
    logs = kind.at(keys, 8)
    first = keys + (_INDICES_AT + (1 << np.minimum(logs >> 8 & 0xFF, _MOST_LOG2))).view(np.uint64)
    counts = np.where(keys != 0, np.minimum(kind.at(keys, _ENTRIES_AT), _MOST_ATTRIBUTES), 0)
    return _part("name", first, counts, 2)


@attrs.frozen
class _Rule:
    members: Callable[[Kind], Iterable[int]] = _no_members
    parts: Callable[[Kind, Things], Iterator[Part]] = _nothing


_OTHER: Final = _Rule(_all_members, _items)
_LEAF: Final = _Rule()
_WEAK: Final = _Rule(lambda _: (24,))
_VIEW: Final = _Rule(lambda _: (24, 64))
"""A memoryview: most of its other words, which are numbers, are never set."""
_GENERATOR: Final = _Rule(_of_generator, _generator)
_DICT: Final = _Rule(parts=_dict)
_SET: Final = _Rule(parts=_set)
_RULES: Final = {
    "list": _Rule(parts=_list),
    "dict": _DICT,
    "frozendict": _DICT,
    "set": _SET,
    "frozenset": _SET,
    "tuple": _Rule(parts=_items),
    "collections.deque": _Rule(parts=_deque),
    "generator": _GENERATOR,
    "coroutine": _GENERATOR,
    "async_generator": _GENERATOR,
    "frame": _Rule(_before_frame, _frame),
    "memoryview": _VIEW,
    "managedbuffer": _Rule(lambda _: (40,)),
    "numpy.ndarray": _Rule(lambda _: (48, 56), _array),
    **dict.fromkeys(("weakref", "weakref.ReferenceType"), _WEAK),
    **dict.fromkeys(("weakproxy", "weakref.ProxyType"), _WEAK),
    **dict.fromkeys(("weakcallableproxy", "weakref.CallableProxyType"), _WEAK),
    **dict.fromkeys(("int", "str", "bytes", "float", "complex"), _LEAF),
    "code": _Rule(_of_code),
    "bytearray": _Rule(_of_bytearray),
    "array.array": _LEAF,
}
"""By the name of the type whose layout it is; of others, each word that it has of its own."""
