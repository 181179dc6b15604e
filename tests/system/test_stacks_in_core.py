"""The stacks that gencore.analysis reads, compared with the program, pystack and headers."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import attrs
import pytest

from gencore.analysis.interpreter.layouts import LAYOUTS, SAID
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"

pytestmark = pytest.mark.timeout(400)


def headers_of(interpreter):
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    shown = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    return Path(shown.stdout.strip())


def check_layout(minor, headers, directory, *options):
    """Compile the program that prints the offsets, and compare each with the table."""
    program = directory / "layouts"
    source = HERE.parent / "native" / "python_layouts.c"
    command = ["cc", "-w", f"-I{headers}", f"-I{headers / 'internal'}", *options, "-o", program]
    subprocess.run([*command, source], check=True)
    shown = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    rows = {
        name: int(number)
        for name, _, number in (r.rpartition(" ") for r in shown.split("\n") if r)
    }

    fields = attrs.asdict(LAYOUTS[minor])
    assert {name: rows.get(name) for name in fields} == fields
    for name, at in SAID.get(minor, {}).items():
        assert rows[f"said {name}"] == at, name


def test_the_layout_is_that_of_the_headers(installed, tmp_path):
    """Every offset, of each version."""
    version, python = installed
    check_layout(int(version.partition(".")[2]), headers_of(python), tmp_path)


@pytest.mark.parametrize("minor", [14, 15])
def test_the_layout_of_newer_versions_is_that_of_their_headers(minor, tmp_path):
    """Every offset, of those in the root."""
    root = os.environ.get("GENCORE_NEWER_ROOT")
    if root is None:
        pytest.skip("GENCORE_NEWER_ROOT is not set to what tests/system/newer_root.sh prints")
    include = Path(root) / "usr" / "include"
    check_layout(minor, include / f"python3.{minor}", tmp_path, "-idirafter", include)


def frames_of(thread):
    return [[frame.function, frame.file, frame.line] for frame in thread.frames]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("full", marks=pytest.mark.exhaustive),
        "stacks",
    ],
)
def test_stacks_are_those_that_the_program_saw(installed, threads_in, tmp_path, content):
    """Function, file and line of every frame, in every kind of function."""
    program = [installed[1], PROGRAMS / "recorded_stacks.py", tmp_path, content]
    told = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)

    threads = threads_in(told["bundle"])

    assert set(threads) == {*map(int, told["stacks"]), told["main"]}
    assert [thread.incomplete for thread in threads.values()] == [None] * len(threads)
    for tid, recorded in told["stacks"].items():
        assert frames_of(threads[int(tid)]) == recorded
    assert [tid for tid, thread in threads.items() if thread.holds_gil] == [told["main"]]
    assert threads[told["main"]].state == "running"
    waiting = [thread for tid, thread in threads.items() if tid != told["main"]]
    assert {thread.state for thread in waiting} == {"in a system call"}


@pytest.fixture
def every_thread(installed, build_extension, tmp_path):
    """Dump every_thread.py; return what it told."""
    extension = build_extension(tmp_path)
    program = [installed[1], PROGRAMS / "every_thread.py", "linux-elf", tmp_path, extension]
    done = subprocess.run([*program, "archive"], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def of_pystack(tmp_path, monkeypatch, tool):
    """Return a function that returns the stacks of a core as pystack reads them, by tid."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert tool("pystack")

    def read(path):
        with open_core(path) as opened, unpacked(opened) as copy:
            program = [sys.executable, PROGRAMS / "pystack_rows.py"]
            command = [*program, copy.core, copy.executable, copy.folder]
            done = subprocess.run(command, capture_output=True, check=True)
            return {int(tid): rows for tid, rows in json.loads(done.stdout).items()}

    return read


def test_stacks_are_those_that_pystack_shows(every_thread, threads_in, of_pystack):
    """Of threads that wait, compute and loop; the states are those of their functions."""
    threads = threads_in(every_thread["core"])
    others = of_pystack(every_thread["core"])

    for tid, rows in others.items():
        found = [[f.function.rpartition(".")[2], f.file, f.line] for f in threads[tid].frames]
        assert found[::-1] == [row[:3] for row in rows]
    assert len(others) == len(threads) == len(every_thread["threads"]) + 1
    tids = every_thread["threads"]
    for function in ("in_sleep", "in_queue", "in_recv", "in_poll", "in_extension"):
        assert threads[tids[function]].state == "in a system call", function
    assert threads[tids["in_loop"]].state == "waiting for the GIL"
    assert threads[tids["in_loop"]].name == "python"


def test_variables_are_those_that_the_program_saw(installed, check_locals, tmp_path):
    """Name, address and value of each, in every kind of function; and the threads' names."""
    program = [installed[1], PROGRAMS / "recorded_locals.py", tmp_path]
    told = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)

    check_locals(told, told["bundle"])


@pytest.mark.parametrize("dumps", [2, pytest.param(25, marks=pytest.mark.exhaustive)])
@pytest.mark.timeout(3600)
def test_variables_of_a_busy_program_agree(installed, tmp_path, stacks_of, of_pystack, dumps):
    """With each other and with pystack's, wherever the threads were."""
    command = [installed[1], PROGRAMS / "busy_threads.py", tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    seen = Counter()
    with subprocess.Popen(command, **pipes) as program:
        for number in range(dumps):
            print(file=program.stdin, flush=True)
            path = Path(program.stdout.readline().strip())
            rows = stacks_of(path)
            seen.update(name for row in rows for name in check_busy(row))
            if number % 10 == 0:
                check_against(rows, of_pystack(path))
            path.unlink()
        program.stdin.close()

    assert {*seen} >= {"descending", "looping", "counting", "generating"}


def check_busy(row):
    """Compare the variables of a thread of busy_threads.py; yield the functions it is in."""
    assert row["incomplete"] is None
    depth = 30
    for frame in row["frames"]:
        values = {v["name"]: v["value"] for v in frame["locals"]}
        name = frame["function"].rpartition(".")[2]
        yield name
        if name == "descend":
            number, double = depth, 2 * depth
            known = {"number": f"{number}", "text": f"'{number}'", "double": f"{double}"}
            known["label"] = f"'{number} {double}'"
            assert values.items() <= known.items()
            assert len(values) >= 2
            depth -= 1
        elif name == "looping" and "pair" in values:
            first, second = ast.literal_eval(values["pair"])
            assert first == -second
            assert first <= int(values["index"]) <= first + 1
            if "mapping" in values:
                inner = ast.literal_eval(values["mapping"])
                assert inner["pair"] == (inner["index"], -inner["index"])
        elif name == "counting":
            assert int(values["total"]) % 3 == 0
            assert "add" in values
        elif name == "add":
            assert values["amount"] == "3"
        elif name == "generate" and "triple" in values:
            assert len(set(ast.literal_eval(values["triple"]))) == 1


SIMPLE = re.compile(r"-?\d+|'[\w ]*'|None|True|False")


def check_against(rows, others):
    """Compare stacks with those of pystack: frames, names of variables, and simple values."""
    assert {row["tid"] for row in rows} == others.keys()
    for row in rows:
        found = [[f["function"].rpartition(".")[2], f["file"], f["line"]] for f in row["frames"]]
        assert found == [other[:3] for other in others[row["tid"]]]
        for frame, (*_, values) in zip(row["frames"], others[row["tid"]], strict=True):
            shown = {variable["name"]: variable["value"] for variable in frame["locals"]}
            assert shown.keys() == values.keys()
            of_cells = {name for name, text in values.items() if text.startswith("<cell")}
            simple = {k: v for k, v in shown.items() if SIMPLE.fullmatch(v) and k not in of_cells}
            assert {k: values[k].replace('"', "'") for k in simple} == simple
