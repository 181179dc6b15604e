"""Threads are stopped and go on without noticing: ten thousand times, in every blocking call."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "backends" / "gencore_backends" / "linux" / "native"
PROGRAM = ROOT / "tests" / "native" / "blocking_calls.c"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Return a function that builds the program with some options."""

    def compile_with(*options):
        program = tmp_path_factory.mktemp("program") / "blocking_calls"
        sources = [PROGRAM, NATIVE / "threads.c", NATIVE / "proc_text.c"]
        command = [
            "cc",
            "-std=gnu11",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            *options,
            f"-I{NATIVE}",
        ]
        subprocess.run([*command, *sources, "-o", program, "-lpthread", "-lrt"], check=True)
        return program

    return compile_with


def run(program, captures, mode):
    done = subprocess.run(
        [program, str(captures), mode], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    *calls, summary = map(json.loads, done.stdout.splitlines())
    return calls, summary


@pytest.fixture(scope="module")
def captured(build):
    """Capture the program's threads 10,000 times."""
    return run(build("-O2"), 10_000, "auto")


def test_no_call_returns_eintr(captured):
    """Neither those that the kernel restarts nor those that it never does."""
    calls, _ = captured

    assert {call["call"]: (call["eintr"], call["failed"]) for call in calls} == {
        call["call"]: (0, 0) for call in calls
    }


def test_every_timeout_is_what_it_would_have_been(captured):
    """Within 20 ms, after hundreds of interruptions of each call; the kernel's timers add some."""
    timed = [call for call in captured[0] if call["timed"]]

    assert len(timed) == 14
    for call in timed:
        assert call["rounds"] > 0
        assert call["late_median"] < 20, call


def test_the_applications_own_signals_still_interrupt(captured):
    """A signal that comes while a thread is stopped gives it its EINTR."""
    _, summary = captured

    assert summary["sent"] > 1000
    assert summary["lost"] == 0


def test_most_threads_are_stopped_and_the_others_read(captured):
    """Of 38 threads, 9 or so are in calls that cannot be resumed exactly."""
    _, summary = captured

    assert summary["stopped"] > 20 * summary["captures"]
    assert summary["read"] > 5 * summary["captures"]


def test_signal_mode_stops_those_too_without_eintr(build):
    """Only threads that block or await signals are left to be read."""
    calls, summary = run(build("-O2"), 1000, "signal")

    assert all(call["eintr"] == call["failed"] == 0 for call in calls)
    assert summary["read"] < 3 * summary["captures"]


def test_nothing_undefined_happens(build):
    """The same under the undefined behaviour sanitizer."""
    options = ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    _, summary = run(build(*options), 500, "auto")

    assert summary["captures"] == 500
