"""Calls that move much data are neither cut short nor garbled by captures."""

import errno

import pytest

pytestmark = pytest.mark.timeout(400)

SA_RESTART = 0x10000000


@pytest.fixture(scope="module", params=[25, pytest.param(150, marks=pytest.mark.exhaustive)])
def transfers(request, build, run):
    """Move half a MiB at a time in each way, with slow peers, while captures are made.

    Meanwhile children end, and the process gets signals that it ignores.
    """
    return run(build("transfers", "-O2"), request.param)


def test_no_transfer_returns_early(transfers):
    """By none of the calls that return a part only when a handler interrupts them."""
    assert len(transfers) == 18
    assert {row["transfer"]: (row["early"], row["failed"]) for row in transfers} == {
        row["transfer"]: (0, 0) for row in transfers
    }
    assert all(row["calls"] for row in transfers)


def test_what_is_moved_is_what_was_sent(transfers):
    """Nothing is left out, moved twice, or moved in another order."""
    assert [row["transfer"] for row in transfers if row["garbled"]] == []


@pytest.mark.parametrize("flags", [0, SA_RESTART])
def test_a_signal_of_the_application_still_ends_a_transfer(build, run, flags):
    """With what it has moved by then. It is lost only if it comes with two captures at once."""
    (row,) = run(build("transfers", "-O2"), 1500, "interrupted", flags)

    assert row["sent"] > 10
    assert row["lost"] <= 2 + row["sent"] / 100


def test_what_would_wait_or_lose_something_is_not_asked_for(build, run):
    """On descriptors that do not wait, of a message with descriptors, and past an error."""
    rows = run(build("rests_of_transfers", "-O2"))

    assert {row["rest"]: row["moved"] for row in rows} == {
        "no room, O_NONBLOCK": 10,
        "no room, MSG_DONTWAIT": 10,
        "more data": 110,
        "more data, perhaps with descriptors": 10,
        "an error": 10,
        "the call after it": -errno.ECONNRESET,
    }
