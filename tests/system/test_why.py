"""What ``gencore why`` says of programs in which something is wrong, and of those without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(400)

HEALTHY = (
    "idle",
    "thread_pool",
    "producers_and_consumers",
    "contended_lock",
    "timed_waits",
    "nested_locks",
    "echo_server",
    "threaded_server",
    "process_pool",
    "numpy_job",
    "django",
    "fastapi",
)
QUICK = ("thread_pool", "echo_server")
"""Those that `make test` runs."""


@pytest.fixture
def dumped(tmp_path):
    """Return a function that runs a program which dumps itself; it returns the bundle."""

    def run(program, kind, python=sys.executable):
        command = [python, PROGRAMS / f"{program}.py", kind, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    return run


@pytest.fixture
def why(tool, tmp_path):
    """Return a function that runs the command, and returns its JSON, or what it prints."""

    def run(*arguments, code=0):
        done = subprocess.run(
            [tool("gencore"), "why", "--quiet", *arguments],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


def problems(shown):
    """Return the sentences of the problems."""
    return [row["sentence"] for row in shown["findings"] if row["severity"] == "problem"]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in QUICK else pytest.mark.exhaustive)
        for kind in HEALTHY
    ],
)
def test_a_healthy_program_is_not_accused(dumped, why, kind):
    """Whatever its threads wait for, and however much memory it needs."""
    shown = why("--json", dumped("healthy", kind))

    assert problems(shown) == []
    assert set(shown["missing"]) <= {"deadlocks"}
    assert shown["heap"]["count"] > 10_000


def test_a_deadlock_is_named_with_its_lines(dumped, why, installed):
    """The threads, the locks, the line of each, and the command that shows more."""
    bundle = dumped("sick", "deadlock", installed[1])
    shown = why("--json", bundle)

    (finding,) = (row for row in shown["findings"] if row["severity"] == "problem")
    assert finding["sentence"] == (
        "deadlock: reserve waits for a Lock held by return, which waits for a Lock held by reserve"
    )
    assert all("sick.py:" in line for line in finding["evidence"])
    assert finding["following"] == f"gencore stacks {bundle}"
    largest = shown["groups"][0]
    assert (largest["count"], largest["own"]) == (2, True)
    assert largest["threads"] == ["reserve", "return"]
    assert largest["doing"] == ["in futex"]
    assert largest["place"]["function"] == "deadlock.<locals>.reserve"
    assert largest["place"]["source_line"] == "with second:"
    printed = why(bundle)
    assert f"problem {finding['sentence']}" in " ".join(printed.split())
    assert f"next: gencore stacks {bundle}" in printed


def test_an_event_loop_that_cannot_run_is_named(dumped, why):
    """The thread, and the line that waits without await."""
    shown = why("--json", dumped("sick", "blocked_loop"))

    (sentence,) = problems(shown)
    assert sentence.startswith("the event loop of serves is blocked: ")
    assert (
        "serves is in futex at blocked_loop.<locals>.ask_the_database"
        in (shown["findings"][0]["evidence"][0])
    )
    assert shown["findings"][0]["evidence"][0].endswith("queue.Queue().get()")


def test_a_limit_that_is_near_is_named(dumped, why):
    """With both numbers."""
    shown = why("--json", dumped("sick", "descriptors"))

    (sentence,) = problems(shown)
    assert sentence.startswith("open files: ")
    assert shown["findings"][0]["evidence"][0].endswith(" of 100")


def test_a_request_in_flight_is_shown_without_its_secrets(dumped, why):
    """With the line that works on it; those that were answered are none."""
    shown = why("--json", dumped("healthy", "django_request"))

    (request,) = shown["requests"]
    assert (request["protocol"], request["method"]) == ("WSGI", "GET")
    assert request["target"] == "/orders/7"
    assert request["place"]["function"] == "Held.work"
    assert "secret" not in json.dumps(shown)
    assert shown["packages"]["django"]
    assert "json" not in shown["packages"]


def test_what_cannot_be_read_is_missing(dumped, why, tmp_path):
    """Without a core, the manifest's stacks are shown, and the exit code is 3."""
    bundle = dumped("sick", "deadlock")
    folder = tmp_path / "extracted"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "gencore", "extract", bundle, "-o", folder], check=True)
    (core,) = folder.rglob("core")
    core.write_bytes(core.read_bytes()[:10_000])

    shown = why("--json", core.parent, code=3)

    assert set(shown["missing"]) == {"core"}
    assert shown["heap"] is None
    assert {group["place"]["function"] for group in shown["groups"] if group["own"]} >= {
        "deadlock.<locals>.reserve"
    }
