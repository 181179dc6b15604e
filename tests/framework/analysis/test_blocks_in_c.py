"""The C part of the census, with arrays that no caller makes: it reads nothing outside of them."""

from array import array
from functools import partial

import pytest

from gencore.analysis import _blocks

unsigned, signed, rows_of = partial(array, "Q"), partial(array, "q"), partial(array, "i")

POOL = 1 << 14
ADDRESS = 0x7F0000000000
SLOTS = 1 << 16


def pool_of(*, size=64, carved=4, free=()):
    """Return a pool's words, whose blocks of a list of free ones lead to each other."""
    words = unsigned(bytes(POOL))
    following = [*free[1:], 0] if free else []
    for block, after in zip(free, following, strict=True):
        words[(48 + block * size) // 8] = ADDRESS + 48 + after * size if after else 0
    first = ADDRESS + 48 + free[0] * size if free else 0
    return words, carved, first


def used(words, *, place=0, count=4, carved=4, first=0, size=64, room=1024):
    """Return the addresses of the blocks in use of one pool."""
    addresses, places = unsigned(bytes(8 * room)), signed(bytes(8 * room))
    columns = (
        unsigned([ADDRESS]),
        signed([place]),
        signed([count]),
        signed([carved]),
        unsigned([first]),
    )
    found = _blocks.used_blocks(words, *columns, size, addresses, places)
    offsets = [address - ADDRESS for address in addresses[:found]]
    assert [(at - place) * 8 for at in places[:found]] == offsets
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
    table = rows_of([-1]) * slots
    for row, address in enumerate(addresses):
        table[(address >> 4) % slots] = row
    return table, unsigned(addresses)


def test_a_table_of_types_without_an_end_is_left():
    """Every slot is taken, and none by what is looked for."""
    _, addresses = types_of([16])
    rows = rows_of([7, 7, 7])
    _blocks.rows_of_words(unsigned([16, 32, 0]), rows_of([0]) * SLOTS, addresses, rows)

    assert list(rows) == [0, -1, -1]


@pytest.mark.parametrize("row", [5, -7, 2**31 - 1])
def test_rows_that_no_type_has_are_none(row):
    """A table of anybody's making."""
    table, addresses = types_of([16])
    table[1] = row
    rows = rows_of([7])
    _blocks.rows_of_words(unsigned([16]), table, addresses, rows)

    assert list(rows) == [-1]


PAGE = rows_of([0]), rows_of([0]) + rows_of([-1]) * ((1 << 18) - 1)
"""The tables of a core of one page, at address 0."""


def objects(words, place, *, address=0, preheader=0, listed=0, table=None):
    """Return the object in a block of 64 bytes, of the one type at address 16, and the rest."""
    slots, addresses = table or types_of([16])
    columns = [unsigned([7]), signed([7]), signed([7]), signed([7])]
    type_facts = addresses, signed([preheader]), signed([32]), array("b", [listed])
    count, others = _blocks.objects_in_blocks(
        words,
        *PAGE,
        unsigned([address]),
        signed([place]),
        slots,
        *type_facts,
        1,
        1 << 63,
        0,
        64,
        *columns,
    )
    found = [list(column[:count]) for column in columns[:3]]
    return list(zip(*found, strict=True)), list(columns[3][:others])


@pytest.mark.parametrize("place", [-1, 255, 256, 1 << 60, -(1 << 62)])
@pytest.mark.parametrize("preheader", [0, 16])
def test_blocks_outside_of_the_core_are_no_objects(place, preheader):
    """One at the end has no room for a header of the collector."""
    words = unsigned([16 + 1]) * 254 + unsigned([1, 16])
    assert objects(words, place, preheader=preheader, listed=preheader) == ([], [])


def test_a_block_at_the_beginning_of_the_core_has_nothing_in_front():
    """A table of types may say that the collector looks at what has no room for its header."""
    words = unsigned([1, 16]) + unsigned([0]) * 510
    assert objects(words, 0) == ([(0, 0, 0)], [])
    assert objects(words, 0, listed=1) == ([], [])


NEXT = 1024
"""The address of the next object's header."""


@pytest.mark.parametrize(
    ("head", "back", "found"),
    [
        ((0, 0), 7, True),
        ((NEXT, 0), 64, True),
        ((NEXT | 1, 0), 64 | 5, True),
        ((NEXT, 0), 72, False),
        ((NEXT, 0), 0, False),
        ((NEXT, 2), 0, True),
        ((1 << 40, 0), 64, None),
        ((4096 - 8, 0), 64, None),
    ],
)
def test_what_the_next_object_of_the_list_does_not_lead_back_to_is_none(head, back, found):
    """But for one in no list, or while a collection goes on; the core may lack the next one."""
    words = unsigned([0]) * 512
    words[8:12] = unsigned([*head, 1, 16])
    words[NEXT // 8 + 1] = back
    rest = [0] if found is None else []
    expected = [] if found is False else [(80, 10, 0)]

    assert objects(words, 8, address=64, preheader=16, listed=1) == (expected, rest)
    assert objects(words, 8, address=64, preheader=16) == ([(80, 10, 0)], [])


@pytest.mark.parametrize("count", [0, 1 << 63, (1 << 63) | 1])
def test_what_has_no_references_is_no_object(count):
    """Or more than any program has."""
    words = unsigned([0]) * 8 + unsigned([count, 16]) + unsigned([0]) * 502
    assert objects(words, 8, address=64) == ([], [])


@pytest.mark.parametrize("address", [0, 8, 4095, 1 << 30, 1 << 46, (1 << 64) - 8])
@pytest.mark.parametrize("page", [-1, 0, 1, 2**31 - 1])
def test_places_are_within_the_core(address, page):
    """Of a core of one page; the table may lead anywhere."""
    core = unsigned([0]) * 512
    regions = rows_of([0, 2**31 - 1])
    tables = rows_of([page]) * (1 << 18)
    places = signed([7])
    _blocks.places_of(core, unsigned([address]), regions, tables, places)

    whole = page == 0 and address in {0, 8}
    assert list(places) == [address // 8 if whole else -1]


def tables_of(*, region=0, page=1, groups=32):
    """Return the empty tables of an index of one region, whose pages are all the same."""
    pages = rows_of([page]) * (1 << 16)
    return rows_of([region]), pages, unsigned(bytes(8 * groups)), rows_of([7]) * groups


def numbers(words, *tables):
    """Return which of the words are addresses of objects, and the numbers of these."""
    places, found = signed([7] * len(words)), rows_of([7] * len(words))
    count = _blocks.numbers_of(unsigned(words), *tables, places, found)
    return list(zip(places[:count], found[:count], strict=True))


def test_words_that_are_addresses_of_objects_have_their_numbers():
    """In any order, also where many are together; one that is not aligned is none."""
    addresses = unsigned([2048, 32, 1040, 48, 1024, 2048 + 63 * 16, 56])
    tables = *tables_of(), rows_of([7] * len(addresses))
    _blocks.index_objects(addresses, *tables)

    assert numbers([*addresses, 64, 33, 0], *tables) == [*enumerate(range(6))]


@pytest.mark.parametrize("address", [0, 16, 1 << 14, 1 << 30, 1 << 46, (1 << 64) - 16])
@pytest.mark.parametrize(
    ("region", "page"), [(-1, 1), (1, 1), (0, -1), (0, 0), (0, 2), (0, 2**31 - 1)]
)
def test_addresses_that_the_tables_do_not_have_are_no_objects(address, region, page):
    """Tables may lead anywhere, and no object is in the first page."""
    tables = *tables_of(region=region, page=page), rows_of([7])
    _blocks.index_objects(unsigned([address]), *tables)

    assert not any(tables[2])
    assert numbers([address], *tables) == []


@pytest.mark.parametrize("rank", [-1, 1, 2**31 - 1])
def test_ranks_are_those_of_an_object(rank):
    """A table of anybody's making."""
    directory, pages, bits, ranks = tables_of()
    bits[16], ranks[16] = 1, rank

    assert numbers([0], directory, pages, bits, ranks, rows_of([7])) == []


CORE = memoryview(unsigned([1 << 14, *range(1 << 14, 24 << 10, 16), 1 << 14]))[1:-1]
"""A page of addresses of objects, which begin where the index of `tables_of` has its page. What
lies around the page would be found as well."""


def references(begins, counts, *, stride=1, width=1, tags=0, at=(0, 0), room=8):
    """Return references in the page at address 0, the rest, and where it goes on."""
    tables = *tables_of(), rows_of([7] * 512)
    _blocks.index_objects(unsigned(CORE), *tables)
    pages = rows_of([0]), rows_of([0]) + rows_of([-1]) * ((1 << 18) - 1)
    columns = rows_of(range(len(begins))), unsigned(begins), signed(counts)
    sources, targets, rest = rows_of([7] * room), rows_of([7] * room), signed([7] * len(begins))
    *after, count, others = _blocks.references(
        CORE, *pages, *tables, *columns, stride, width, tags, *at, sources, targets, rest
    )
    found = list(zip(sources[:count], targets[:count], strict=True))
    return found, list(rest[:others]), tuple(after)


def test_references_are_the_words_of_parts():
    """Row by row, of each entry the first words."""
    found, rest, _ = references([0, 80, 160], [2, 4, 0], stride=3, width=2)

    assert found == [(0, 0), (0, 1), (1, 10), (1, 11), (1, 13), (1, 14)]
    assert rest == []


def test_references_go_on_where_there_was_no_room():
    """In the middle of a row."""
    first, _, after = references([8, 800], [3, 9], room=5)
    second, _, end = references([8, 800], [3, 9], at=after)

    assert first + second == [(0, n) for n in (1, 2, 3)] + [(1, 100 + n) for n in range(9)]
    assert (after, end) == ((1, 2), (2, 0))


@pytest.mark.parametrize(
    ("begin", "count"),
    [(4096, 1), (4088, 2), (4, 1), (0, 1 << 62), (0, 1 << 40), ((1 << 64) - 8, 2), (1 << 47, 1)],
)
def test_rows_that_the_core_has_not_are_the_rest(begin, count):
    """Wholly: nothing is found in their beginnings."""
    assert references([begin, 0], [count, 1]) == ([(1, 0)], [0], (2, 0))


def test_rows_that_no_process_has_room_for_are_the_rest():
    """The address of their last word is that of the first, after it has gone through all."""
    assert references([0], [(1 << 57) + 1], stride=16) == ([], [0], (1, 0))


@pytest.mark.parametrize("word", [3, 511, 1 << 43])
def test_references_begin_within_the_core(word):
    """A row that nobody has looked at, from the middle on."""
    found, _, after = references([0], [max(word, 512) + 2], at=(0, word), room=600)

    assert found == [(0, number) for number in range(word, 512)]
    assert after == (1, 0)


def test_arrays_of_other_lengths_are_refused():
    """Each function says so, and touches none."""
    two, one = signed([0, 0]), signed([0])
    words, rows = unsigned([0, 0]), rows_of([7])
    table, addresses = types_of([16])
    calls = (
        lambda: _blocks.used_blocks(words, words, one, two, two, words, 16, words, two),
        lambda: _blocks.used_blocks(words, words, two, two, two, words, 0, words, two),
        lambda: _blocks.rows_of_words(words, table, addresses, rows),
        lambda: _blocks.rows_of_words(words, table[:9], addresses, rows_of([7, 7])),
        lambda: objects(words, 0, table=(table[:9], addresses)),
        lambda: objects(words, 0, table=(table, words)),
        lambda: _blocks.places_of(words, words, rows, rows, one),
        lambda: _blocks.index_objects(words, rows, rows, words, rows, rows_of([7, 7])),
        lambda: _blocks.index_objects(words, rows, rows, one, rows, rows),
        lambda: _blocks.numbers_of(words, rows, rows, words, rows, rows, two, rows_of([7, 7])),
        lambda: _blocks.numbers_of(words, rows, rows, one, rows, rows, one, rows_of([7, 7])),
        lambda: _blocks.numbers_of(words, rows, rows, one, rows, rows, two, rows),
        lambda: references([0], [1], stride=1, width=2),
        lambda: references([0], [1], stride=1, width=0),
        lambda: references([0], [1], stride=1 << 40),
        lambda: references([0], [1], at=(-1, 0)),
        lambda: references([0], [1], at=(0, -1)),
        lambda: references([0], [1, 1]),
    )

    for call in calls:
        with pytest.raises(ValueError, match="the lengths of the arrays do not agree"):
            call()


def test_more_blocks_than_there_is_room_for_are_refused():
    """Nothing is written behind the arrays."""
    words, _, _ = pool_of()

    with pytest.raises(ValueError, match="do not agree"):
        used(words, room=3)
