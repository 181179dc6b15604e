"""Objects that lead anywhere: whatever stands in them, showing them has an end and a bound."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencore.analysis import AbsentMemory, Memory, Piece, Python, Values
from gencore.analysis.interpreter.layouts import LAYOUTS

START = 0x10000
TYPE_SIZE = 1024
NAMES = [
    "type",
    "NoneType",
    "bool",
    "int",
    "float",
    "complex",
    "str",
    "bytes",
    "bytearray",
    "list",
    "tuple",
    "dict",
    "set",
    "frozenset",
    "frozendict",
    "collections.deque",
    "datetime.datetime",
    "datetime.timedelta",
    "function",
    "method",
    "builtin_function_or_method",
    "code",
    "generator",
    "coroutine",
    "module",
    "BaseException",
    "object",
    "made.Thing",
]
OBJECTS = START + len(NAMES) * TYPE_SIZE
WORDS = 1 << 9
READY, INLINE_VALUES, MANAGED_DICT, IS_TYPE = (1 << bit for bit in (12, 2, 4, 31))


def memory_of(chance, layout):
    """Return sound types, and then words that are types, addresses, small, or random."""
    data = bytearray(len(NAMES) * TYPE_SIZE + WORDS * 8)
    for index, name in enumerate(NAMES):
        at = index * TYPE_SIZE
        flags = READY | chance.choice([0, MANAGED_DICT, MANAGED_DICT | INLINE_VALUES])
        rows = {
            0: 1,
            8: START,
            24: START + at + TYPE_SIZE - 64,
            layout.basic_size_of_type: 32,
            layout.item_size_of_type: chance.choice([0, 8]),
            layout.flags_of_type: flags | (IS_TYPE if not index else 0),
            layout.members_of_type: chance.choice([0, OBJECTS + 8 * chance.randrange(WORDS)]),
            layout.dict_offset_of_type: chance.choice([0, 16, (1 << 64) - 8]),
            layout.mro_of_type: chance.choice([0, OBJECTS + 8 * chance.randrange(WORDS)]),
            layout.cached_keys_of_type: OBJECTS + 8 * chance.randrange(WORDS),
        }
        for offset, word in rows.items():
            struct.pack_into("<Q", data, at + offset, word)
        data[at + TYPE_SIZE - 64 : at + TYPE_SIZE - 64 + len(name)] = name.encode()
    kinds = (
        lambda: START + TYPE_SIZE * chance.randrange(len(NAMES)),
        lambda: OBJECTS + 8 * chance.randrange(WORDS),
        lambda: chance.randrange(100),
        lambda: chance.getrandbits(64),
    )
    for index in range(WORDS):
        kind = chance.choices(kinds, (40, 35, 20, 5))[0]
        struct.pack_into("<Q", data, OBJECTS - START + 8 * index, kind())
    whole = memoryview(data)
    return Memory([Piece(START, START + len(data), whole, 0, writable=True, path=None)])


@pytest.mark.parametrize("minor", LAYOUTS)
@settings(deadline=None)
@given(seed=st.integers(0, 1 << 32), limit=st.integers(3, 2000))
def test_any_words_are_shown_within_the_limit(minor, seed, limit):
    """No error, and no more characters; and what objects have is found or is missing."""
    chance = random.Random(seed)
    layout = LAYOUTS[minor]
    values = Values(Python(memory_of(chance, layout), (3, minor, 0), layout, START))
    for _ in range(10):
        address = OBJECTS + 8 * chance.randrange(WORDS)
        assert 0 < len(values.show(address, limit)) <= limit
        try:
            assert len(values.attributes(address)) < 1 << 14
            assert sum(1 for _ in values.items(address, 500)) <= 500
        except AbsentMemory:
            continue


def test_what_is_no_object_is_missing():
    """Wherever it is, and whatever stands there."""
    layout = LAYOUTS[13]
    values = Values(Python(memory_of(random.Random(1), layout), (3, 13, 0), layout, START))

    for address in (0, 8, OBJECTS - 16, OBJECTS + 8 * WORDS, (1 << 64) - 8, -8):
        assert values.show(address) == "<missing>"
        with pytest.raises(AbsentMemory):
            values.attributes(address)
