"""Threads are stopped and go on without noticing: ten thousand times, in every blocking call."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "backends" / "gencore_backends" / "linux" / "native"
BLOCKING = ROOT / "tests" / "native" / "blocking_calls.c"
STOPPING = ("threads", "calls", "resume", "retries", "transfers", "memory_access", "proc_text")
"""The files that stop threads; they need nothing of Python."""
ODD = ROOT / "tests" / "native" / "odd_threads.c"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Return a function that builds a program with some options."""

    def compile_with(source, *options):
        program = tmp_path_factory.mktemp("program") / source.stem
        sources = [source, *(NATIVE / f"{part}.c" for part in STOPPING)]
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
        subprocess.run(
            [*command, *sources, "-o", program, "-lpthread", "-lrt", "-Wl,-z,now"], check=True
        )
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
    return run(build(BLOCKING, "-O2"), 10_000, "auto")


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
    calls, summary = run(build(BLOCKING, "-O2"), 1000, "signal")

    assert all(call["eintr"] == call["failed"] == 0 for call in calls)
    assert summary["read"] < 3 * summary["captures"]


def test_nothing_undefined_happens(build):
    """The same under the undefined behaviour sanitizer."""
    options = ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    _, summary = run(build(BLOCKING, *options), 500, "auto")

    assert summary["captures"] == 500


@pytest.fixture(scope="module")
def odd(build):
    """Return a function that captures an odd thread 200 times: [stopped, read, missing]."""
    program = build(ODD, "-O2")

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


@pytest.mark.parametrize("name", ["large_alternate_stack", "computes"])
def test_threads_that_can_be_stopped_are_stopped(odd, name):
    """On an alternate stack, and on the processor."""
    stopped, _, _ = odd(name)

    assert stopped > 150


def test_a_thread_that_starts_others_is_in_every_capture(odd):
    """Starting a thread, the C library blocks signals: then it may only be read, or be missing."""
    stopped, read, missing = odd("starts_threads")

    assert stopped + read + missing == 200
    assert stopped > 0
