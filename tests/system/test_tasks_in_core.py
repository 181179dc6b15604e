"""The asyncio tasks that are found in a core, compared with what the program knows of them."""

import json
import os
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(400)

DETAILS = {
    "chain": (None, "delay=3600"),
    "locked": ("asyncio.locks.Lock", "locked=True, waiting=1"),
    "event": ("asyncio.locks.Event", "value=False, waiting=1"),
    "semaphore": ("asyncio.locks.Semaphore", "value=0, waiting=1"),
    "put": ("asyncio.queues.Queue", "maxsize=1, unfinished=1, items=1"),
    "executor": ("concurrent.futures._base.Future", "state='RUNNING'"),
    "executor-queue": ("concurrent.futures._base.Future", "state='PENDING'"),
}


def run(installed, directory, content):
    program = [installed[1], PROGRAMS / "recorded_tasks.py", directory, content]
    return json.loads(subprocess.run(program, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(
    "content", [pytest.param("full", marks=pytest.mark.exhaustive), "private"]
)
def test_tasks_are_those_that_the_program_started(installed, check_tasks, tmp_path, content):
    """What each waits for, where, and for whom; and of what it waits for what matters."""
    told = run(installed, tmp_path, content)

    tasks = check_tasks(told, told["bundle"])

    shown = {name: tasks[name].awaited for name in DETAILS}
    assert {name: (row.type_name, row.detail) for name, row in shown.items()} == DETAILS
    assert tasks["failed"].exception == "LookupError('of the test')"
    assert tasks["stream"].awaited.detail.startswith("descriptor=")
    assert tasks["socket"].awaited.detail.startswith("descriptor=")


def test_the_command_shows_the_tree(installed, tool, tmp_path):
    """For people, and as JSON."""
    told = run(installed, tmp_path, "private")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def show(*options):
        command = [tool("gencore"), "tasks", "--quiet", *options, told["bundle"]]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    lines = show().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("  gather ["))
    assert lines[at + 2].startswith(
        "    gather: 3 tasks: child-1, child-2, child-3 [waiting in sl"
    )
    assert lines[-2:] == [
        "cycle: ab waits for a Lock held by ba, which waits for a Lock held by ab",
        "cycle: cycle-0 waits for cycle-1, which waits for cycle-0",
    ]
    assert not any(line.startswith("    gather: child-1 [") for line in lines)
    assert any(line.startswith("    gather: child-1 [") for line in show("--all").splitlines())
    shown = json.loads(show("--json"))
    schema = json.loads((files("gencore.cli") / "schemas" / "tasks.json").read_bytes())
    Draft202012Validator(schema).validate(shown)
    names = {row["address"]: row["name"] for row in shown["tasks"]}
    (gather,) = (row for row in shown["tasks"] if row["name"] == "gather")
    assert {names[link["task"]] for link in gather["awaits"]} == {"child-1", "child-2", "child-3"}
    assert gather["frames"][0]["function"] == "gathering"
