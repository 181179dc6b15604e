"""A bundle is opened where nothing of the program is: debuggers find everything in the bundle.

The other machine is a root of its own, in which the Python installation, the environment and the
program's extension do not exist.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(400)


def hidden_roots(python, *others):
    """Return the directories of which nothing may be found."""
    prefixes = subprocess.run(
        [python, "-c", "import sys; print(sys.base_prefix); print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [*prefixes, *map(str, others)]


@pytest.fixture
def bundle(installed, build_extension, tmp_path):
    """Bundle the program with all its threads; return (bundle, what must be hidden, threads)."""
    place = tmp_path / "program"
    place.mkdir()
    extension = build_extension(place, "-fno-omit-frame-pointer")
    command = [installed[1], PROGRAMS / "every_thread.py", "linux-elf", tmp_path, extension]
    done = subprocess.run([*command, "bundle"], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    hidden = hidden_roots(installed[1], place)
    if any(root in {"/", "/usr", "/usr/local"} for root in hidden):
        pytest.skip("the interpreter belongs to the system, which the debuggers need too")
    return Path(told["core"]), hidden, told


@pytest.fixture
def elsewhere(bundle, tmp_path, tool):
    """Return a function that runs a command where the program is not."""
    copy = tmp_path / "copy"

    def run(*command):
        options = ["--dev-bind", "/", "/", "--cap-add", "ALL"]
        for root in bundle[1]:
            options += ["--tmpfs", root]
        options += ["--bind", copy, "/mnt"]
        return subprocess.run(
            [tool("bwrap"), *options, "--", *command], capture_output=True, text=True, check=True
        ).stdout

    def debugger(*options):
        """Return the command line of `gencore open`, as it is there."""
        command = [sys.executable, "-m", "gencore", "open", "--json", *options, bundle[0]]
        environment = {**os.environ, "XDG_CACHE_HOME": str(copy)}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        return [word.replace(str(copy), "/mnt") for word in json.loads(done.stdout)["command"]]

    run.debugger = debugger
    *_, run.executable, run.core = debugger()
    run.folder = Path(run.core).parent
    return run


def test_gdb_names_every_frame(bundle, elsewhere, tool):
    """All libraries are the bundle's; ?? is only where one of these is stripped."""
    assert tool("gdb")
    commands = ("-ex", "thread apply all bt", "-ex", "info sharedlibrary")
    shown = elsewhere(*elsewhere.debugger(), "-batch", *commands)

    assert len(re.findall(r"^Thread \d+ ", shown, re.MULTILINE)) == len(bundle[2]["threads"]) + 1
    for frame in re.findall(r".* in \?\? .*", shown):
        assert f" from {elsewhere.folder}/" in frame, frame
    for stack in re.split(r"^Thread \d+ .*$", shown, flags=re.MULTILINE)[1:]:
        assert re.search(r" in (start_thread|clone3|_start) ", stack), stack
    loaded = [line for line in shown.splitlines() if re.match(r"0x\w+ +0x\w+ +Yes", line)]
    assert len(loaded) > 10
    assert all(str(elsewhere.folder) in line for line in loaded)


def test_lldb_names_every_frame(bundle, elsewhere, tool):
    """The same in LLDB."""
    assert tool("lldb")
    command = elsewhere.debugger("--lldb")
    shown = elsewhere(*command, "--batch", "-o", "thread backtrace all")

    stacks = re.split(r"thread #\d+", shown.partition("thread backtrace all")[2])[1:]
    assert len(stacks) == len(bundle[2]["threads"]) + 1
    for frame in re.findall(r"frame #\d+: .*", shown):
        assert "`" in frame, frame  # module`function


def test_pystack_merges_every_thread(bundle, elsewhere):
    """With an interpreter and a pystack of that machine's own."""
    system = Path("/usr/bin/python3")
    packages = Path(__import__("pystack").__file__).parents[1]
    if not system.exists() or sys.version_info[:2] != _version(system):
        pytest.skip("the system's Python cannot load this pystack")
    command = ["env", f"PYTHONPATH={packages}", system, "-m", "pystack", "--no-color", "core"]
    shown = elsewhere(
        *command,
        *("--native", "--lib-search-root", elsewhere.folder),
        *(elsewhere.core, elsewhere.executable),
    )

    found = {int(tid) for tid in re.findall(r"^Traceback for thread (\d+) ", shown, re.MULTILINE)}
    assert found == {*bundle[2]["threads"].values(), bundle[2]["main"]}
    assert "Unable to merge" not in shown
    for function in bundle[2]["threads"]:
        assert f"in {function}" in shown


def _version(python):
    code = "import sys; print(*sys.version_info[:2])"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, shown.split()))


def test_verify_finds_every_library(bundle):
    """Of 3.11, 3.12 and 3.13, from a virtual environment."""
    command = [sys.executable, "-m", "gencore", "verify", "--json", bundle[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(done.stdout)["checks"] == [
        {"name": name, "ok": True, "problems": []}
        for name in ("archive", "hashes", "core", "libraries")
    ]
