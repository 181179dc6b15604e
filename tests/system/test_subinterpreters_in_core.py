"""What is said of a sub-interpreter that another thread runs than the one that made it."""

import json
import os
import subprocess

import pytest

CODE = """if True:
    import json, os, sys, threading, time
    from pathlib import Path
    import gencore
    try:
        import _interpreters as interpreters
        run = interpreters.exec
    except ImportError:  # before Python 3.13
        import _xxsubinterpreters as interpreters
        run = interpreters.run_string

    ready, tell_ready = os.pipe()
    inner = f'''if True:
        import os, time
        class Worker:
            def work(self):
                os.write({tell_ready}, b"r")
                time.sleep(3600)
        kept = [str(number) * 99 for number in range(20_000)]
        Worker().work()
    '''
    made = interpreters.create()
    def serve():
        run(made, inner)
    thread = threading.Thread(target=serve, name="serves", daemon=True)
    thread.start()
    os.read(ready, 1)
    while Path(f"/proc/self/task/{thread.native_id}/wchan").read_text() == "0":
        time.sleep(0.01)
    bundle = gencore.collect_core(directory=sys.argv[1], content="private")
    print(json.dumps({"bundle": str(bundle), "tid": thread.native_id}), flush=True)
    os._exit(0)
"""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def told(installed, tmp_path):
    """Dump such a process with each version, return what it told."""
    run = [installed[1], "-c", CODE, tmp_path]
    return json.loads(subprocess.run(run, capture_output=True, check=True).stdout)


@pytest.fixture
def shown(tool, tmp_path):
    """Return a function that runs a command, and returns its JSON."""

    def run(*words):
        done = subprocess.run(
            [tool("gencore"), words[0], "--json", "--quiet", *words[1:]],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def test_the_frames_are_those_of_the_thread_that_runs_it(told, shown):
    """In stacks by interpreter, and in why as one stack, the sub-interpreter's frames inside."""
    threads = shown("stacks", told["bundle"])["threads"]
    inside = {row["tid"]: row["frames"] for row in threads if row["interpreter"]}
    groups = shown("why", told["bundle"])["groups"]

    assert inside[told["tid"]][-1]["function"] == "Worker.work"
    assert [tid for tid, frames in inside.items() if frames] == [told["tid"]]
    functions = [[frame["function"] for frame in group["frames"]] for group in groups]
    (served,) = [names for names in functions if "Worker.work" in names]
    assert served.index("Worker.work") < served.index("serve")


def test_what_it_keeps_is_told_from_what_the_main_one_keeps(told, shown):
    """Each has modules of the same names."""
    holders = shown("heap", "--retained", told["bundle"])["retained"]["holders"]
    ways = [row["way"] for row in holders if row["way"].endswith("kept")]

    assert ways == ["module __main__ of interpreter 1: kept"]
