"""Signals of the application's own have the effect that they have without captures."""

import pytest

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def signals(build, run):
    """Send 256 signals, of 32 kinds, while captures are made one after the other."""
    *kinds, summary = run(build("signals", "-O2"), 256)
    assert len(kinds) == 32
    assert summary["captures"] > 0
    return kinds


def count(kinds, what):
    return sum(kind[what] for kind in kinds)


def test_a_threads_signal_ends_its_call(signals):
    """Whatever the handler blocks; one in a hundred may come at the wrong moment."""
    kinds = [kind for kind in signals if kind["to"] == "thread"]

    assert count(kinds, "sent") > 100
    assert count(kinds, "lost") <= 4


def test_most_signals_of_the_process_end_the_main_threads_call(signals):
    """The others are taken by another thread, where the main one has no turn on the processor."""
    kinds = [kind for kind in signals if kind["to"] == "process"]

    assert count(kinds, "sent") > 100
    assert count(kinds, "lost") < 0.35 * count(kinds, "sent")


def test_a_call_that_is_restarted_does_not_end(signals):
    """Where the application's handler has SA_RESTART."""
    assert count(signals, "ended_early") <= 4


def test_real_time_signals_are_neither_taken_nor_lost(build, run):
    """Awaited, read from a descriptor, handled, or only queued, of the numbers that look free.

    Whichever thread it is that uses one.
    """
    uses = run(build("realtime_signals", "-O2"), 300)

    assert [(use["use"], use["came"], use["wrong"]) for use in uses] == [
        (use["use"], use["sent"], 0) for use in uses
    ]
    assert sum(use["sent"] for use in uses) == 3 * 300 + 3 * 10
