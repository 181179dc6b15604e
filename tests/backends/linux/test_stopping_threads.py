"""Threads are stopped and go on without noticing, in every system call that blocks."""

import json
import platform
import subprocess

import pytest

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=[60, pytest.param(300, marks=pytest.mark.exhaustive)])
def captured(request, build, run):
    """Capture a thread in each call so often, standing still for 2 ms or more each time."""
    *calls, summary = run(build("blocking_calls", "-O2"), request.param, "auto")
    return calls, summary


def test_every_row_of_the_table_is_tried(captured):
    """With and without a timeout, a timeout in read-only memory, and a transfer in part."""
    _, summary = captured

    assert summary["untested"] == []


def test_no_call_returns_eintr(captured):
    """Neither those that the kernel restarts nor those that it never does."""
    calls, _ = captured

    assert {call["call"]: (call["eintr"], call["failed"]) for call in calls} == {
        call["call"]: (0, 0) for call in calls
    }


def test_what_becomes_of_a_thread_follows_from_its_call(captured):
    """Stopped where it can go on exactly, and read where it cannot."""
    calls, _ = captured

    assert [call["call"] for call in calls if call["wrong"]] == []


def test_every_timeout_is_what_it_would_have_been(captured):
    """Never short. Time that is not taken off, or begins anew, would be a multiple of it."""
    timed = [call for call in captured[0] if call["timed"]]

    assert len(timed) > 30
    for call in timed:
        assert call["rounds"] > 0, call
        assert 0.99 < call["shortest"] <= call["mean"] < 3, call


def test_every_thread_is_in_every_capture(captured):
    """None is missing in the list, and no capture fails."""
    _, summary = captured

    assert (summary["failures"], summary["not_listed"]) == (0, 0)


def test_sigtimedwait_hardly_ever_takes_our_signal(captured):
    """Only when it has timed out and not run since does it look like a thread that computes."""
    _, summary = captured

    assert summary["taken"] < 10


def test_signal_mode_stops_those_too_without_eintr(build, run):
    """Only threads that await signals, or move data, are left to be read."""
    *calls, summary = run(build("blocking_calls", "-O2"), 40, "signal")

    assert all(call["eintr"] == call["failed"] == call["wrong"] == 0 for call in calls)
    assert summary["untested"] == []


@pytest.mark.exhaustive
def test_nothing_undefined_happens(build, run):
    """The same under the undefined behaviour sanitizer."""
    options = ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    *_, summary = run(build("blocking_calls", *options), 100, "auto")

    assert (summary["captures"], summary["failures"]) == (100, 0)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere a register keeps it")
def test_the_number_of_a_call_is_read_wherever_its_caller_lies(build, run):
    """Also where the code begins on the page before; unless nothing is mapped there."""
    *rows, on_no_page = run(build("numbers_of_calls", "-O2"))

    assert {row["at"] for row in rows} == set(range(100))
    assert [row for row in rows if row["read"] != 271] == []
    assert on_no_page["read"] == -1


@pytest.fixture(scope="module")
def odd(build):
    """Return a function that captures an odd thread 200 times: [stopped, read, missing]."""
    program = build("odd_threads", "-O2")

    def capture(name):
        done = subprocess.run([program, "200", name], capture_output=True, check=True)
        return json.loads(done.stdout)

    return capture


@pytest.mark.parametrize(
    "name", ["blocks_signals", "full_stack", "small_alternate_stack", "vforks"]
)
def test_threads_that_must_not_be_signalled_are_read(odd, name):
    """Those that block it, are uninterruptible, or have no room for a frame; nobody is killed."""
    _, read, _ = odd(name)

    assert read > 160


@pytest.mark.parametrize(
    "name",
    [
        "large_alternate_stack",
        "beside_small_alternate_stack",
        "beside_large_alternate_stack",
        "computes",
    ],
)
def test_threads_that_can_be_stopped_are_stopped(odd, name):
    """On an alternate stack, beside one that they must not be put on, and on the processor."""
    stopped, _, _ = odd(name)

    assert stopped > 150


def test_a_thread_that_starts_others_is_in_every_capture(odd):
    """Starting a thread, the C library blocks signals: then it may only be read, or be missing."""
    stopped, read, missing = odd("starts_threads")

    assert stopped + read + missing == 200
    assert stopped > 0


def test_memory_that_vanishes_is_not_there(build, run):
    """A thread that ends takes its stack with it, whether we are looking at it or not."""
    (looks,) = run(build("vanishing_memory", "-O2"))

    assert looks == {"there": 20000, "gone": 20000}


def test_a_thread_that_has_run_since_it_was_read_is_missing(build, run):
    """Its registers are of a moment before. The clone knows it too; one that stayed is partial."""
    (ran,) = run(build("moving_threads", "-O2"), 20)

    assert ran == {"moving": 20, "computing": 20, "resting": 0, "known": 20}


def test_a_thread_that_a_debugger_holds_is_not_killed_by_our_signal(build, run):
    """It is still queued after the capture: the handler stays, but not in a forked child."""
    (held,) = run(build("held_thread", "-O2"))

    assert held == {"kept": True, "child": True, "goes_on": True}
