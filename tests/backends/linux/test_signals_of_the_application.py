"""Signals of the application's own have the effect that they have without captures."""

import re

import pytest

MOVE_DATA = {"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "getrandom"}
HAVE_AN_END = {"nanosleep", "clock_nanosleep", "fallocate"}

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


@pytest.mark.exhaustive
def test_a_threads_signal_ends_its_call(signals):
    """Whatever the handler blocks; one in a hundred may come at the wrong moment."""
    kinds = [kind for kind in signals if kind["to"] == "thread"]

    assert count(kinds, "sent") > 100
    assert count(kinds, "lost") <= 4


@pytest.mark.exhaustive
def test_most_signals_of_the_process_end_the_main_threads_call(signals):
    """The others are taken by another thread, where the main one has no turn on the processor."""
    kinds = [kind for kind in signals if kind["to"] == "process"]

    assert count(kinds, "sent") > 100
    assert count(kinds, "lost") < 0.35 * count(kinds, "sent")


@pytest.mark.exhaustive
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


def test_a_signal_in_a_pause_ends_the_calls_that_it_would_end_alone(native, build, run):
    """In every call of the table that waits, with SA_RESTART and without."""
    rows = run(build("signalled_calls", "-O2"), "signal")
    names = re.findall(r"\bROW\((\w+),", (native.folder / "calls.c").read_text())

    assert {(row["call"], row["restart"]): row["ended"] for row in rows} == {
        (row["call"], row["restart"]): row["alone"] for row in rows
    }
    assert set(names) - {row["row"] for row in rows} == {"name", *MOVE_DATA, *HAVE_AN_END}


def test_the_main_thread_takes_signals_in_the_pause(build, run):
    """In whatever call it was, so that none of the process's goes to another thread."""
    rows = run(build("signalled_calls", "-O2"), "signal")

    assert [(row["call"], row["restart"]) for row in rows if not row["in_pause"]] == []


def test_calls_that_cpython_makes_again_end_in_its_main_thread(build, run):
    """But for those that only a signal may end. The frames of sem_wait(3) cannot be told."""
    rows = run(build("signalled_calls", "-O2"), "cpython")

    go_on = {row["call"] for row in rows if not row["ended"]}
    assert go_on - {"sem_ever"} == {"ppoll_ever", "suspend", "pause_ever"}
    assert [row["call"] for row in rows if row["alone"]] == []


def test_signals_at_the_end_of_a_pause_are_left_to_the_main_thread(build, run):
    """By the one that captures. It waits for 20 ms only: on a busy machine it takes some."""
    (taken,) = run(build("yielded_signals", "-O2"), 100)

    assert taken["main"] + taken["others"] == 100
    assert taken["main"] > 10
