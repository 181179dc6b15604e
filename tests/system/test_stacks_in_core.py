"""The stacks that gencore.analysis reads, compared with the program, pystack and headers."""

import json
import os
import subprocess
from pathlib import Path

import attrs
import pytest

from gencore.analysis.layouts import LAYOUTS, SAID

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
        pytest.param("private", marks=pytest.mark.exhaustive),
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
    done = subprocess.run([*program, "bundle"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_stacks_are_those_that_pystack_shows(every_thread, threads_in, tool):
    """Of threads that wait, compute and loop; the states are those of their functions."""
    command = [tool("gencore"), "stacks", "--json", "--quiet", every_thread["core"]]
    threads = threads_in(every_thread["core"])
    done = subprocess.run(command, capture_output=True, check=True)
    shown = json.loads(done.stdout)

    assert shown["source"] == "core"
    for row in shown["threads"]:
        found = [
            {"function": f.function.rpartition(".")[2], "file": f.file, "line": f.line}
            for f in threads[row["tid"]].frames
        ]
        assert found[::-1] == [{name: frame[name] for name in found[0]} for frame in row["frames"]]
    assert len(shown["threads"]) == len(threads) == len(every_thread["threads"]) + 1
    tids = every_thread["threads"]
    for function in ("in_sleep", "in_queue", "in_recv", "in_poll", "in_extension"):
        assert threads[tids[function]].state == "in a system call", function
    assert threads[tids["in_loop"]].state == "waiting for the GIL"
    assert threads[tids["in_loop"]].name == "python"
