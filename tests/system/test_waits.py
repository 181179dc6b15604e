"""What threads wait for in a core, and who holds it, compared with what the program knows."""

import json
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "waiting_threads.py"

pytestmark = pytest.mark.timeout(400)

ONE_PYTHON = pytest.mark.parametrize("installed", ["3.13"], indirect=True)
"""For what does not depend on the Python that was dumped."""


@pytest.fixture(scope="module")
def told(installed, tmp_path_factory):
    """Dump the program, return what it told."""
    command = [installed[1], PROGRAM, tmp_path_factory.mktemp("bundle"), "private"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_what_threads_wait_for_is_what_they_called(told, check_waits):
    """Locks and all that threading, queue and imports build on them, with their owners."""
    check_waits(told, told["bundle"])


@ONE_PYTHON
def test_the_command_shows_each_lock_once(told, inside, monkeypatch, tmp_path):
    """With those that wait for it, where they are, and where its owner is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, _ = inside("locks", "--quiet", "--keep", told["bundle"])
    shown = json.loads(inside("locks", "--json", told["bundle"])[1])

    assert code == 0
    paragraphs = [part.splitlines() for part in out.rstrip().split("\n\n")]
    rlock = f"the RLock at {told['waits']['gone'][1]:#x}, whose owner has ended:"
    assert paragraphs[0][0] == f"1 thread waits for {rlock}"
    by_head = {lines[0]: lines[1:] for lines in paragraphs}
    lock = f"the Lock at {told['waits']['guarded'][1]:#x} held by guard-owner"
    waiting, owner = by_head[f"1 thread waits for {lock}, which is in a with block of it:"]
    assert waiting.startswith("    guarded: wait_in, ")
    assert owner.startswith("    guard-owner itself: with_, ")
    assert "1 thread waits for the import of slow_module held by importer:" in by_head
    assert "1 thread waits for the end of lock-owner:" in by_head
    condition = f"the threading.Condition at {told['waits']['timed'][1]:#x}:"
    (both,) = by_head[f"2 threads wait in Condition.wait for {condition}"]
    assert both.startswith("    condition, timed (with a time limit): wait_in, ")
    assert {row["tid"] for row in shown["waits"]} <= {row["tid"] for row in shown["threads"]}
    assert shown["deadlocks"] == []


@ONE_PYTHON
def test_a_core_without_locks_is_said_to_have_none(installed, inside, monkeypatch, tmp_path):
    """The exit code is 3, and nothing is claimed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = "import gencore; print(gencore.collect_core(directory='.', content='stacks'))"
    made = [installed[1], "-c", code]
    bundle = subprocess.run(made, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    code, out, err = inside("locks", "--json", tmp_path / bundle.strip())

    assert code == 3
    assert "the core has the content stacks: locks are missing" in err
    assert "held by" not in out


@pytest.fixture
def ended(installed, tmp_path):
    """Dump a program that has ended but for a thread that is no daemon; return the core."""
    code = """if True:
        import os, sys, threading, time
        from pathlib import Path
        import gencore

        pipeline = gencore.Pipeline(collectors=["raw"], directory=sys.argv[1])
        def work():
            threading.main_thread().join()
            while "futex" not in Path(f"/proc/self/task/{os.getpid()}/wchan").read_text():
                time.sleep(0.01)
            print(pipeline.run().path_of("raw"), flush=True)
            os._exit(0)
        threading.Thread(target=work, name="last").start()
    """
    made = [installed[1], "-c", code, tmp_path]
    return subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()


def test_a_program_that_has_ended_waits_for_its_threads(ended, inside, monkeypatch, tmp_path):
    """The main thread joins those that are no daemons, by their Locks up to 3.12."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shown = json.loads(inside("locks", "--json", ended)[1])

    names = {row["tid"]: row["name"] for row in shown["threads"]}
    rows = [(names[row["tid"]], row["kind"], names[row["held_by"]]) for row in shown["waits"]]
    assert ("MainThread", "Thread", "last") in rows


def test_it_is_noted_which_thread_keeps_a_program_alive_that_has_ended(
    ended, inside, monkeypatch, tmp_path
):
    """Which is no problem: a program may have begun with a thread that serves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    findings = json.loads(inside("why", "--json", ended)[1])["findings"]

    (note,) = (row for row in findings if "ended" in row["sentence"])
    assert note["severity"] == "note"
    assert note["sentence"].endswith("waits for the end of last")
    assert note["evidence"][0].startswith("last is at work (")
