"""Many words of a memory at once, wherever the core has its pages."""

import struct

import pytest

from gencore.analysis import Memory, Piece

np = pytest.importorskip("numpy")

from gencore.analysis.words import Words  # noqa: E402 - needs numpy

PAGE = 4096
BASE = 0x400000
LIBRARY = 0x800000


def words_of(skew, *, library_pages=1):
    """Return the words of a core of one page, *skew* bytes into its file, and of a library."""
    core = memoryview(bytes(PAGE + skew) + struct.pack("<512Q", *range(512)))
    library = memoryview(bytes(library_pages * PAGE))
    return Words(
        Memory(
            [
                Piece(BASE, BASE + PAGE, core, PAGE + skew, writable=True, path=None),
                Piece(
                    LIBRARY, LIBRARY + len(library), library, 0, writable=False, path="/lib/x.so"
                ),
            ]
        )
    )


@pytest.mark.parametrize("skew", [0, 0x5F0, 0x5F4, 0x5F1])
def test_pages_may_lie_anywhere_in_the_core(skew):
    """Gcore puts them directly behind its notes, which end anywhere."""
    words = words_of(skew)
    addresses = np.array([BASE, BASE + 8 * 511, LIBRARY], np.uint64)

    values, there = words.at(addresses)
    things, ours = words.things(addresses)
    (run,) = words.writable()

    assert (values.tolist(), there.all()) == ([0, 511, 0], True)
    assert (things.word().tolist(), ours.tolist()) == ([0, 511], [True, True, False])
    assert run.words.tolist() == list(range(512))


def test_a_library_may_be_larger_than_the_core():
    """What the core has is found all the same."""
    words = words_of(0, library_pages=16)

    things, ours = words.things(np.array([BASE + 8], np.uint64))

    assert (ours.tolist(), things.word().tolist()) == ([True], [1])
