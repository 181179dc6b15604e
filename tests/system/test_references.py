"""References in a core, compared with those that the process knows itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "held_objects.py"
ALLOCATORS = ("debug", "malloc", "malloc_debug")

pytestmark = pytest.mark.timeout(400)

ONE_PYTHON = pytest.mark.parametrize("installed", ["3.13"], indirect=True)
"""For what does not depend on the Python that was dumped."""


def run(interpreter, directory, **variables):
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [interpreter, PROGRAM, directory], capture_output=True, check=True, env=environment
    )
    return json.loads(done.stdout)


def test_references_are_those_that_the_program_made(installed, tmp_path, check_references):
    """Ways, referrers, retained bytes, garbage; and what has leaked between two dumps."""
    told = run(installed[1], tmp_path)

    check_references(told, told["before"], told["after"])


@ONE_PYTHON
@pytest.mark.exhaustive
@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_references_are_found_whatever_allocates(installed, tmp_path, check_references, allocator):
    """With the allocators that Python itself offers."""
    told = run(installed[1], tmp_path, PYTHONMALLOC=allocator)

    check_references(told, told["before"], told["after"])


@ONE_PYTHON
@pytest.mark.exhaustive
@pytest.mark.parametrize("allocator", ["pymalloc", "malloc"])
def test_references_are_found_in_a_malloc_of_unknown_layout(
    installed, tmp_path, check_references, jemalloc, allocator
):
    """Where an object is referred to, it was found."""
    told = run(installed[1], tmp_path, PYTHONMALLOC=allocator, LD_PRELOAD=jemalloc)

    check_references(told, told["before"], told["after"])


@ONE_PYTHON
def test_two_processes_of_a_service_are_compared_by_names(installed, tmp_path, tool):
    """A type of the same name is the same; which objects are new is unknown."""
    code = """if True:
        import gencore, os, sys
        class Row:
            pass
        rows = [Row() for _ in range(int(sys.argv[1]))]
        print(gencore.collect_core(content="private"), flush=True)
        os._exit(0)
    """
    bundles = [
        subprocess.run(
            [installed[1], "-c", code, count], capture_output=True, check=True, cwd=tmp_path
        ).stdout.strip()
        for count in ("100", "1100")
    ]
    done = subprocess.run(
        [tool("gencore"), "diff", "--json", *bundles],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    shown = json.loads(done.stdout)

    row = next(row for row in shown["grown"] if row["type"] == "__main__.Row")
    assert (shown["same_process"], row["new"], row["addresses"]) == (False, None, [])
    assert (row["count_before"], row["count_after"]) == (100, 1100)
    assert row["holders"] == [{"way": "module __main__: rows", "before": 100, "after": 1100}]


def test_a_memoryview_holds_what_it_shows_and_no_more(tool, tmp_path):
    """Words that it never sets are what was there before: here addresses of the rows."""
    code = """if True:
        import gencore, os
        class Row:
            pass
        rows = [Row() for _ in range(1000)]
        tuples = [(row,) * 23 for row in rows]
        del tuples
        shown = [memoryview(bytes(1000)) for _ in rows]
        print(gencore.collect_core(content="private"), flush=True)
        os._exit(0)
    """
    bundle = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path, text=True
    ).stdout.strip()
    done = subprocess.run(
        [tool("gencore"), "heap", "--retained", "--json", "--top", "1000", bundle],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    shown = json.loads(done.stdout)
    retained = {row["way"]: row["retained"] for row in shown["retained"]["holders"]}
    sizes = {row["type"]: row["size"] for row in shown["types"]}

    assert retained["module __main__: rows"] >= sizes["__main__.Row"]
    assert retained["module __main__: shown"] >= sizes["memoryview"] + 1000 * 1000


CENSUS_ALONE = """if True:
    import sys
    from gencore.cli import heap
    from gencore.cli import main
    from gencore.cli.reader_process import Reading, ask
    def ask_or_fail(question, copy, *arguments):
        failed = Reading(None, "heap took more than 120 s of CPU time", ())
        return failed if arguments[1:] else ask(question, copy, *arguments)
    heap.ask = ask_or_fail
    sys.exit(main())
"""


def test_a_census_survives_what_retains_most(tmp_path):
    """That takes more time and memory, and may reach a limit that the count does not."""
    code = "import gencore, sys; print(gencore.collect_core(directory=sys.argv[1]))"
    made = [sys.executable, "-c", code, tmp_path]
    bundle = subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(
        [sys.executable, "-c", CENSUS_ALONE, "heap", "--retained", "--json", "--quiet", bundle],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    shown = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (
        3,
        "gencore: what keeps what alive is unknown: heap took more than 120 s of CPU time\n",
    )
    assert shown["retained"] is None
    assert shown["types"]
