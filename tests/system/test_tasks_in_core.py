"""The asyncio tasks that are found in a core, compared with what the program knows of them."""

import functools
import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(400)

ONE_PYTHON = pytest.mark.parametrize("installed", ["3.13"], indirect=True)
"""For what does not depend on the Python that was dumped."""

DETAILS = {
    "chain": (None, "delay=3600"),
    "locked": ("asyncio.locks.Lock", "locked=True, waiting=1"),
    "event": ("asyncio.locks.Event", "value=False, waiting=1"),
    "semaphore": ("asyncio.locks.Semaphore", "value=0, waiting=1"),
    "put": ("asyncio.queues.Queue", "maxsize=1, unfinished=1, items=1"),
    "executor": ("concurrent.futures._base.Future", "state='RUNNING'"),
    "executor-queue": ("concurrent.futures._base.Future", "state='PENDING'"),
}


@pytest.fixture(scope="module")
def run(installed, tmp_path_factory):
    """Return a function that dumps recorded_tasks.py once; it returns what that told."""

    @functools.cache
    def dump(content):
        program = [installed[1], PROGRAMS / "recorded_tasks.py", tmp_path_factory.mktemp("tasks")]
        done = subprocess.run([*program, content], capture_output=True, check=True)
        return json.loads(done.stdout)

    return dump


@pytest.mark.parametrize(
    "content", [pytest.param("full", marks=pytest.mark.exhaustive), "private"]
)
def test_tasks_are_those_that_the_program_started(run, check_tasks, content):
    """What each waits for, where, and for whom; and of what it waits for what matters."""
    told = run(content)

    tasks = check_tasks(told, told["bundle"])

    shown = {name: tasks[name]["awaited"] for name in DETAILS}
    assert {name: (row["type"], row["detail"]) for name, row in shown.items()} == DETAILS
    assert tasks["failed"]["exception"] == "LookupError('of the test')"
    assert tasks["stream"]["awaited"]["detail"].startswith("descriptor=")
    assert tasks["socket"]["awaited"]["detail"].startswith("descriptor=")


@ONE_PYTHON
def test_the_command_shows_the_tree(run, tasks_of):
    """For people, and as JSON."""
    told = run("private")

    lines = tasks_of(told["bundle"]).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("  gather ["))
    assert lines[at + 2].startswith(
        "    gather: 3 tasks: child-1, child-2, child-3 [waiting in sl"
    )
    assert lines[-2:] == [
        "cycle: ab waits for a Lock held by ba, which waits for a Lock held by ab",
        "cycle: cycle-0 waits for cycle-1, which waits for cycle-0",
    ]
    assert not any(line.startswith("    gather: child-1 [") for line in lines)
    assert any(
        line.startswith("    gather: child-1 [")
        for line in tasks_of(told["bundle"], "--all").splitlines()
    )
    shown = json.loads(tasks_of(told["bundle"], "--json"))
    schema = json.loads((files("gencore.cli") / "schemas" / "tasks.json").read_bytes())
    Draft202012Validator(schema).validate(shown)
    names = {row["address"]: row["name"] for row in shown["tasks"]}
    (gather,) = (row for row in shown["tasks"] if row["name"] == "gather")
    assert {names[link["task"]] for link in gather["awaits"]} == {"child-1", "child-2", "child-3"}
    assert gather["frames"][0]["function"] == "gathering"
    assert set(gather["frames"][0]) == {"function", "file", "line", "source_line"}


@pytest.fixture(scope="module")
def greenlets(installed, make_once, tmp_path_factory):
    """Dump recorded_greenlets.py of a Python which has gevent; return what that told."""
    version, python = installed

    def install(directory):
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        packages = directory / "site-packages"  # by which code that is not the program's is known
        subprocess.run([*pip, "--no-compile", "--target", packages, "gevent"], check=True)

    packages = make_once(f"gevent{version}", install) / "site-packages"
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [python, PROGRAMS / "recorded_greenlets.py", tmp_path_factory.mktemp("greenlets")]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    return json.loads(done.stdout)


def test_greenlets_are_those_that_the_program_started(greenlets, tasks_of):
    """Their Python stacks, whatever is between the frames, and those of gevent too."""
    told = greenlets
    shown = json.loads(tasks_of(told["bundle"], "--json"))

    found = {row["address"]: row for row in shown["greenlets"]}

    frames = {
        address: [[f["function"], f["file"], f["line"]] for f in reversed(row["frames"])]
        for address, row in found.items()
    }
    told_frames = {hex(int(address)): rows for address, rows in told["suspended"].items()}
    assert {address: frames[address] for address in told_frames} == told_frames
    assert {found[address]["state"] for address in told_frames} == {"suspended"}
    assert {name: found[hex(at)]["state"] for name, at in told["others"].items()} == {
        name: name for name in told["others"]
    }
    assert {row["incomplete"] for row in found.values()} == {None}
    assert sum(row["type"].startswith("gevent.") for row in found.values()) >= 4
    lines = tasks_of(told["bundle"]).splitlines()
    assert any(line.startswith("  3 greenlets: gevent.") for line in lines)


def test_why_groups_greenlets_by_their_line(greenlets, inside, monkeypatch, tmp_path):
    """Those that do not run, so that each is there once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told = greenlets

    groups = json.loads(inside("why", "--json", told["bundle"])[1])["greenlets"]

    paused = len(told["suspended"]) + ("not started" in told["others"])
    assert sum(group["count"] for group in groups) >= paused
    (slept,) = (
        group for group in groups if group["place"] and group["place"]["function"] == "in_gevent"
    )
    assert slept["count"] == 3


@pytest.fixture
def service(installed, tmp_path):
    """Return a function that runs an asyncio service of a kind; it returns the bundle."""

    def run(kind):
        program = [installed[1], PROGRAMS / "asyncio_services.py", tmp_path, kind]
        return subprocess.run(program, capture_output=True, check=True, text=True).stdout.strip()

    return run


@ONE_PYTHON
def test_a_stuck_service_is_a_few_entries(service, tasks_of):
    """Of a thousand requests it is seen that all wait for one, and for what that waits."""
    lines = tasks_of(service("stuck")).splitlines()
    headings = [line.strip() for line in lines if " [" in line]

    (get,) = (line for line in headings if "[waiting in Queue.get of asyncio.queues.Queue" in line)
    (locked,) = (line for line in headings if "[waiting in Lock.acquire of asyncio.locks." in line)
    assert "999 tasks: Task-" in locked
    assert get.endswith(": maxsize=0, unfinished=0, items=0]")
    assert sum(" tasks: " in line for line in headings) <= 3
    assert any(re.fullmatch(r" +Lock: Task-\d+: shown above", line) for line in lines)
    assert not any(line.startswith("cycle:") for line in lines)


def test_a_healthy_service_has_no_cycle(service, tasks_of):
    """At whatever instant it was dumped, and whether a task runs or not."""
    shown = json.loads(tasks_of(service("healthy"), "--json"))

    assert shown["cycles"] == []
    assert shown["incomplete"] is None
    assert len(shown["tasks"]) >= 13
    assert {row["incomplete"] for row in shown["tasks"]} == {None}


def test_damaged_greenlets_give_what_can_be_had(greenlets, tmp_path):
    """No other error, and no endless loop; in a process of its own, because it loads numpy."""
    command = [sys.executable, PROGRAMS / "damaged_greenlets.py", greenlets["bundle"], "200"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stderr
    whole, least, count = map(int, done.stdout.split())
    assert whole >= 10
    assert least < whole
    assert count > 50 * whole  # of 200 cores
