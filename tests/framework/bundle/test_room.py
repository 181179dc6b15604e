"""The room that a bundle offers for the bytes to come, so that they are not copied into it."""

import io
import os
from itertools import cycle

import pytest

from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.writer import BundleWriter

DATA = os.urandom(1000) * (5 * BLOCK_SIZE // 1000)
LENGTHS = {"blocks": [BLOCK_SIZE], "pieces": [BLOCK_SIZE - 1, 7, 300_000]}


def packed(write, lengths):
    """Return a bundle of DATA, of which *write* writes pieces of these lengths."""
    file = io.BytesIO()
    bundle = BundleWriter(file, "top", 0)
    bundle.begin("core", len(DATA), tree=True)
    at, wanted = 0, cycle(lengths)
    while at < len(DATA):
        at += write(bundle, DATA[at : at + next(wanted)])
    bundle.end()
    bundle.close()
    return file.getvalue()


def in_its_room(bundle, piece):
    """Write what of a piece has room."""
    room = bundle.room()
    length = min(len(room), len(piece))
    room[:length] = piece[:length]
    bundle.write(room[:length].toreadonly())
    return length


def elsewhere(bundle, piece):
    """Write a piece although there is room for other bytes."""
    bundle.room()[:] = bytes(len(bundle.room()))
    bundle.write(piece)
    return len(piece)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("write", [in_its_room, elsewhere])
def test_bytes_are_packed_wherever_they_were(write, lengths):
    """In the room that was offered or elsewhere, in pieces of whatever length."""
    expected = packed(lambda bundle, piece: bundle.write(piece) or len(piece), [len(DATA)])

    assert packed(write, lengths) == expected


def test_room_is_where_the_next_bytes_go():
    """What is put there and written is not copied: the room behind it is in the same memory."""
    bundle = BundleWriter(io.BytesIO(), "top", 0)
    bundle.begin("core", len(DATA))
    first = bundle.room()
    bundle.write(first[:100])

    assert bundle.room().obj is first.obj
    bundle.abort()
