"""Tests of the C part of the census, with arrays that no caller makes: it reads nothing outside.

test_blocks_in_c.py runs them in a process of its own, because they load numpy.
"""

import numpy as np
import pytest

from gencore.analysis import _blocks

POOL = 1 << 14
ADDRESS = 0x7F0000000000
SLOTS = 1 << 16


def pool_of(*, size=64, carved=4, free=()):
    """Return a pool's words, whose blocks of a list of free ones lead to each other."""
    words = np.zeros(POOL // 8, np.uint64)
    following = [*free[1:], 0] if free else []
    for block, after in zip(free, following, strict=True):
        words[(48 + block * size) // 8] = ADDRESS + 48 + after * size if after else 0
    first = ADDRESS + 48 + free[0] * size if free else 0
    return words, carved, first


def used(words, *, place=0, count=4, carved=4, first=0, size=64, room=1024):
    """Return the addresses of the blocks in use of one pool."""
    addresses, places = np.zeros(room, np.uint64), np.zeros(room, np.int64)
    columns = (
        np.array([ADDRESS], np.uint64),
        np.array([place]),
        np.array([count]),
        np.array([carved]),
        np.array([first], np.uint64),
    )
    found = _blocks.used_blocks(words, *columns, size, addresses, places)
    offsets = [address - ADDRESS for address in addresses[:found].tolist()]
    assert [(at - place) * 8 for at in places[:found].tolist()] == offsets
    return [(offset - 48) // size for offset in offsets]


def test_blocks_in_use_are_those_that_are_not_free():
    """The free ones are in a list through the blocks themselves."""
    words, carved, first = pool_of(free=(2, 1))

    assert used(words, count=2, carved=carved, first=first) == [0, 3]


@pytest.mark.parametrize(
    "fault",
    [
        {"place": 1},
        {"place": -1},
        {"place": 1 << 60},
        {"carved": 1 << 40},
        {"carved": -1},
        {"count": 1},
        {"count": -(1 << 60)},
        {"first": 0},
        {"first": ADDRESS + 49},
        {"first": ADDRESS - 64},
        {"first": (1 << 64) - 8},
    ],
    ids=str,
)
def test_an_unsound_pool_has_no_blocks(fault):
    """Whatever its header says of a list of free blocks, and wherever it lies."""
    words, carved, first = pool_of(free=(2, 1))

    assert used(words, **{"count": 2, "carved": carved, "first": first, **fault}) == []


def test_a_list_of_free_blocks_that_is_a_circle_ends():
    """Each block is in it once."""
    words, _, first = pool_of(free=(2, 1))
    words[(48 + 64) // 8] = first

    assert used(words, count=0, first=first) == []


def types_of(addresses, *, slots=SLOTS):
    """Return the table of some types, each in the slot that its address leads to."""
    table = np.full(slots, -1, np.int32)
    for row, address in enumerate(addresses):
        table[(address >> 4) % slots] = row
    return table, np.array(addresses, np.uint64)


def test_a_table_of_types_without_an_end_is_left():
    """Every slot is taken, and none by what is looked for."""
    _, addresses = types_of([16])
    rows = np.zeros(3, np.int32)
    _blocks.rows_of_words(
        np.array([16, 32, 0], np.uint64), np.zeros(SLOTS, np.int32), addresses, rows
    )

    assert rows.tolist() == [0, -1, -1]


@pytest.mark.parametrize("row", [5, -7, 2**31 - 1])
def test_rows_that_no_type_has_are_none(row):
    """A table of anybody's making."""
    table, addresses = types_of([16])
    table[1] = row
    rows = np.zeros(1, np.int32)
    _blocks.rows_of_words(np.array([16], np.uint64), table, addresses, rows)

    assert rows.tolist() == [-1]


@pytest.mark.parametrize("place", [-1, 0, 254, 255, 256, 1 << 60, -(1 << 62)])
def test_blocks_outside_of_the_core_are_no_objects(place):
    """One at the end has no room for a header of the collector."""
    words = np.full(256, 16, np.uint64)
    table, addresses = types_of([16])
    rows = np.zeros(1, np.int32)
    sizes = np.array([32])
    _blocks.rows_of_blocks(
        words, np.array([place]), table, addresses, sizes * 0, sizes, 1, 0, 0, 32, rows
    )

    assert rows.tolist() == [-1]


@pytest.mark.parametrize("address", [0, 8, 4095, 1 << 30, 1 << 46, (1 << 64) - 8])
@pytest.mark.parametrize("page", [-1, 0, 1, 2**31 - 1])
def test_places_are_within_the_core(address, page):
    """Of a core of one page; the table may lead anywhere."""
    core = np.zeros(512, np.uint64)
    regions = np.array([0, 2**31 - 1], np.int32)
    tables = np.full(1 << 18, page, np.int32)
    places = np.zeros(1, np.int64)
    _blocks.places_of(core, np.array([address], np.uint64), regions, tables, places)

    whole = page == 0 and address in {0, 8}
    assert places.tolist() == [address // 8 if whole else -1]


def test_arrays_of_other_lengths_are_refused():
    """Each function says so, and touches none."""
    two, one = np.zeros(2, np.int64), np.zeros(1, np.int64)
    words, rows = np.zeros(2, np.uint64), np.zeros(1, np.int32)
    table, addresses = types_of([16])
    calls = (
        lambda: _blocks.used_blocks(words, words, one, two, two, words, 16, words, two),
        lambda: _blocks.used_blocks(words, words, two, two, two, words, 0, words, two),
        lambda: _blocks.rows_of_words(words, table, addresses, rows),
        lambda: _blocks.rows_of_words(words, table[:9], addresses, np.zeros(2, np.int32)),
        lambda: _blocks.rows_of_blocks(words, one, table, addresses, two, one, 1, 0, 0, 32, rows),
        lambda: _blocks.places_of(words, words, rows, rows, one),
    )

    for call in calls:
        with pytest.raises(ValueError, match="the lengths of the arrays do not agree"):
            call()


def test_more_blocks_than_there_is_room_for_are_refused():
    """Nothing is written behind the arrays."""
    words, _, _ = pool_of()

    with pytest.raises(ValueError, match="do not agree"):
        used(words, room=3)
