"""Every thread of a live process, in cores that four readers agree on."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
WAYS = [
    ("linux-elf", "-fomit-frame-pointer"),
    ("linux-sigsegv", "-fomit-frame-pointer"),
    pytest.param(("linux-elf", "-fno-omit-frame-pointer"), marks=pytest.mark.exhaustive),
]
"""The backend, and how the extension is compiled, which no backend looks at."""
START = r"start_thread|\b_start\b|__libc_start_main|pythread_wrapper"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=WAYS, ids=" ".join)
def dumped(request, installed, build_extension, tmp_path_factory):
    """Dump the program; return (core, interpreter, {function: tid}, tid of the caller)."""
    backend, frame_pointers = request.param
    python = installed[1]
    directory = tmp_path_factory.mktemp("core")
    extension = build_extension(tmp_path_factory.mktemp("extension"), frame_pointers)
    program = [python, PROGRAMS / "every_thread.py", backend, directory, extension]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    core = Path(told["core"])
    yield core, os.path.realpath(python), told["threads"], told["main"]
    core.unlink()


@pytest.fixture(scope="module")
def native(dumped, tool):
    """Let pystack print the Python and native frames of every thread."""
    core, python, _, _ = dumped
    return run(tool("pystack"), "--no-color", "core", "--native", core, python)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def stacks(text, heading):
    """Split a reader's text at each thread: {tid: its lines}."""
    parts = re.split(heading, text, flags=re.MULTILINE)
    return {int(tid): lines for tid, lines in zip(parts[1::2], parts[2::2], strict=True)}


def test_gdb_unwinds_every_thread_to_its_start(dumped, tool):
    """Down to start_thread, or _start for the main thread."""
    core, python, threads, main = dumped
    shown = run(tool("gdb"), "-nx", "-batch", "-ex", "thread apply all bt", python, core)

    found = stacks(shown, r"^Thread \d+ \(.*LWP (\d+)\)\):$")

    assert set(found) == {*threads.values(), main}
    for tid, stack in found.items():
        assert re.search(START, stack), (tid, stack)
        assert "corrupt stack" not in stack


def test_lldb_unwinds_every_thread_to_its_start(dumped, tool):
    """The same in LLDB."""
    core, python, threads, _ = dumped
    shown = run(tool("lldb"), "--batch", "-c", core, "-o", "thread backtrace all", python)

    found = re.split(r"thread #\d+", shown)[1:]

    assert len(found) == len(threads) + 1
    for stack in found:
        assert re.search(START, stack), stack


def test_pystack_merges_python_and_native_frames_of_every_thread(dumped, native):
    """With the GIL where it is."""
    _, _, threads, main = dumped

    found = stacks(native, r"^Traceback for thread (\d+) ")

    assert "Unable to merge" not in native
    assert set(found) == {*threads.values(), main}
    for function, tid in threads.items():
        assert re.search(rf"\(Python\) .* in {function}$", found[tid], re.MULTILINE), function
        assert "(C)" in found[tid]
    assert "Has the GIL" in found[main].partition("\n")[0]
    assert native.count("Has the GIL") == 1


def test_pystack_sees_the_call_that_the_extension_waits_in(dumped, native):
    """Its frames are between the Python function and read, with or without frame pointers."""
    _, _, threads, _ = dumped

    stack = stacks(native, r"^Traceback for thread (\d+) ")[threads["in_extension"]]

    assert re.search(r"in_extension.*wait_in_extension.*read", stack, re.DOTALL)


def test_py_spy_reads_every_thread(dumped, tool):
    """It finds the interpreter through NT_FILE, and each thread by its tid."""
    core, _, threads, main = dumped
    shown = run(tool("py-spy"), "dump", "--core", core)

    found = stacks(shown, r"^Thread (\d+)")

    assert set(found) == {*threads.values(), main}
    for function, tid in threads.items():
        assert function in found[tid]
