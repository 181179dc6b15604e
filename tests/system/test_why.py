"""What ``gencore why`` says of programs in which something is wrong, and of those without."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from running_services import COMMANDS, Service, wait_for

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(400)

ONE_PYTHON = pytest.mark.parametrize("installed", ["3.13"], indirect=True)
"""For what does not depend on the Python that was dumped."""

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
CLOCK_NANOSLEEP = 230
"""The number of the system call on x86-64."""
QUICK = "echo_server"
"""That which `make test` runs."""


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
def why(command):
    """Return a function that runs the command, and returns its JSON, or what it prints."""
    return partial(command, "why")


@pytest.fixture
def command(tool, tmp_path):
    """Return a function that runs a command, and returns its JSON, or what it prints."""

    def run(*arguments, code=0):
        done = subprocess.run(
            [tool("gencore"), arguments[0], "--quiet", *arguments[1:]],
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
        pytest.param(kind, marks=() if kind == QUICK else pytest.mark.exhaustive)
        for kind in HEALTHY
    ],
)
def test_a_healthy_program_is_not_accused(dumped, why, kind):
    """Whatever its threads wait for, and however much memory it needs."""
    shown = why("--json", dumped("healthy", kind))

    assert problems(shown) == []
    assert shown["missing"] == {}
    assert shown["heap"]["count"] > 10_000


@ONE_PYTHON
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
    assert largest["names"] == ["reserve", "return"]
    assert largest["doing"] == ["in futex"]
    assert largest["place"]["function"] == "deadlock.<locals>.reserve"
    assert largest["place"]["source_line"] == "with second:"
    printed = why(bundle)
    assert f"problem {finding['sentence']}" in " ".join(printed.split())
    assert f"next: gencore stacks {bundle}" in printed


@pytest.fixture
def sleeps_with_gil():
    """Start a process that sleeps in C code, and does not give the GIL back; return its ID."""
    code = "import ctypes, gencore; gencore.arm(); ctypes.PyDLL(None).sleep(3600)"
    process = subprocess.Popen([sys.executable, "-c", code])
    call = Path(f"/proc/{process.pid}/syscall")
    wait_for(lambda: call.read_text().startswith(f"{CLOCK_NANOSLEEP} "))
    yield process.pid
    process.kill()
    process.wait()


def test_the_system_call_of_the_thread_that_holds_the_gil_is_named(
    sleeps_with_gil, command, why, tmp_path
):
    """All others wait for the end of that call."""
    command("dump", "--output", tmp_path, str(sleeps_with_gil))
    (bundle,) = tmp_path.glob("*.tar.gz")
    shown = why("--json", bundle)

    (holder,) = shown["gil"]["holders"]
    assert " is running in clock_nanosleep at " in holder
    assert ["running in clock_nanosleep"] in [group["doing"] for group in shown["groups"]]


def test_an_event_loop_that_cannot_run_is_named(dumped, why):
    """The thread, and the line that waits without await."""
    shown = why("--json", dumped("sick", "blocked_loop"))

    (sentence,) = problems(shown)
    assert sentence.startswith("the event loop of serves is blocked: ")
    where, below = shown["findings"][0]["evidence"]
    assert where.startswith("serves is in futex at blocked_loop.<locals>.ask_the_database (")
    assert "Condition.wait" in below


def test_a_thousand_tasks_that_are_stuck_are_one_row(dumped, why, command):
    """With the line where they wait, and the task for which they do; the report has their tree."""
    bundle = dumped("sick", "stuck_tasks")
    shown = why("--json", bundle)

    assert problems(shown) == []
    (note,) = shown["findings"]
    assert note["sentence"] == "1,000 of 1,002 tasks are at one line"
    where, owner = note["evidence"]
    assert where.startswith("it is stuck_tasks.<locals>.serve.<locals>.handle (")
    assert where.endswith("(in Lock.acquire)")
    assert "1,000 of them wait for one task: owner is in Event.wait at " in owner
    assert shown["tasks"][0]["count"] == 1000
    tree = command("report", "-o", "-", bundle).partition("Which task waits for which")[2]
    assert re.search(r"<pre [^<]* 1,000 tasks: [^<]* \[waiting in Lock.acquire", tree)


def test_a_limit_that_is_near_is_named(dumped, why):
    """With both numbers."""
    shown = why("--json", dumped("sick", "descriptors"))

    (sentence,) = problems(shown)
    assert sentence.startswith("open files: ")
    assert shown["findings"][0]["evidence"][0].endswith(" of 100")


def test_what_holds_the_memory_is_named(dumped, why):
    """By the way to it from its module; it is unusual, and no problem by itself."""
    shown = why("--json", dumped("sick", "leak"))

    assert problems(shown) == []
    (note,) = (row["sentence"] for row in shown["findings"])
    assert re.fullmatch(
        r"[5-9]\d% of the bytes of all objects are kept alive by module __main__: shop\.cache",
        note,
    )
    assert shown["heap"]["holders"][0]["way"] == "module __main__: shop.cache"
    assert shown["heap"]["holders"][0]["retained"] > 40 << 20


def test_the_heap_is_what_the_other_commands_read(dumped, why, command):
    """Types, memory and holders come of one walk here, and of two there."""
    bundle = dumped("sick", "leak")

    shown = why("--json", bundle)["heap"]
    counted = command("heap", "--json", bundle)
    retained = command("heap", "--json", "--retained", bundle)

    rows = [(row["type"], row["count"], row["size"]) for row in counted["types"]]
    assert [(row["type"], row["count"], row["size"]) for row in shown["types"]] == rows[:100]
    assert shown["memory"] == counted["memory"]
    holders = [(row["way"], row["retained"]) for row in retained["retained"]["holders"]]
    assert [(row["way"], row["retained"]) for row in shown["holders"]] == holders[:5]


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


def test_a_request_of_a_task_is_shown(dumped, why):
    """The function that works on it may be on another thread."""
    shown = why("--json", dumped("healthy", "fastapi_request"))

    (request,) = shown["requests"]
    assert (request["protocol"], request["method"]) == ("ASGI", "GET")
    assert request["target"] == "/orders/7"
    assert request["worker"].startswith("Task-")
    assert problems(shown) == []


@pytest.mark.exhaustive
def test_a_task_of_a_queue_is_shown(why, tool, tmp_path):
    """That which a worker of Celery is at, by its name."""
    service = Service(COMMANDS["celery prefork"], tmp_path / "celery")
    try:
        wait_for(service.answers)
        print("hold", file=service.process.stdin, flush=True)
        wait_for((service.directory / "held").exists)
        worker = (service.directory / "held").read_text()
        dump = [tool("gencore"), "dump", worker, "-o", tmp_path, "--content", "private", "--quiet"]
        done = subprocess.run(dump, capture_output=True, text=True, check=True)
    finally:
        (service.directory / "released").touch()
        service.close()
    shown = why("--json", done.stdout.strip())

    (request,) = shown["requests"]
    assert (request["protocol"], request["method"]) == ("Celery", None)
    assert request["target"] == "tasks.answer_line"
    assert request["place"]["function"] == "answer"
    assert problems(shown) == []


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


WITHOUT_NUMPY = """if True:
    import json, pathlib, sys
    sys.modules["numpy"] = None
    import gencore
    from gencore.analysis import Memory, find_python
    from gencore.analysis.answers.why import answer
    from gencore.corefile import CoreFile
    path = gencore.create_core()
    with CoreFile(path) as core:
        memory = Memory.of_core(core, path, pathlib.Path("/"))
        print(json.dumps(answer(find_python(memory, core), core)["missing"]))
"""


def test_without_numpy_the_remedy_is_named(python):
    """What needs it is missing, and the line says what to install."""
    remedy = "numpy is not installed: pip install 'gencore[analysis]'"

    assert python(WITHOUT_NUMPY) == {"heap": remedy, "holders": remedy}
