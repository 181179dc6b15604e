"""Where every other tool is refused, a core is as good as anywhere."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(300)


def closed_to_others(path):
    """Return the outermost directory above *path* that other users may not enter, if any."""
    for directory in reversed(Path(path).parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def reachable(tool, *paths):
    """Return a command prefix that lets other users reach *paths*, through mounts of its own."""
    options = ["--dev-bind", "/", "/", "--cap-add", "ALL"]
    closed = {closed_to_others(path) for path in paths} - {None}
    for directory in closed:
        options += ["--tmpfs", directory]
    for path in map(Path, paths):
        for parent in reversed(path.parents):
            if closed & set(parent.parents):
                options += ["--perms", "0755", "--dir", parent]
        options += ["--ro-bind", path, path]
    return [tool("bwrap"), *options, "--"]


@pytest.fixture
def open_directory():
    """Make a directory in which everybody may write."""
    directory = Path(tempfile.mkdtemp(prefix="gencore-test-"))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def extension(open_directory, build_extension):
    """Build the program's extension."""
    return build_extension(open_directory)


def run_confined(tool, program, *arguments):
    """Run one of our programs as user nobody without privileges; return what it tells."""
    if os.getuid() != 0:
        pytest.skip("only root can become nobody")
    prefix = reachable(tool, sys.base_prefix, sys.prefix, Path(__file__).parents[2])
    confined = [sys.executable, PROGRAMS / "confined.py", sys.executable, PROGRAMS / program]
    done = subprocess.run(
        [*prefix, *confined, *arguments], capture_output=True, text=True, check=False, cwd="/proc"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nobody_without_privileges_gets_every_thread(
    tool, open_directory, extension, core_pattern
):
    """User nobody, seccomp, RLIMIT_CORE 0, core_pattern a pipe, working directory read-only."""
    core_pattern("|/bin/false")
    told = run_confined(tool, "every_thread.py", "linux-elf", open_directory, extension)

    assert_every_thread_is_whole(told, told["core"], tool)


def test_snapshot_holds_none_of_the_services_descriptors_without_close_range(tool):
    """Kernels before 5.9 and some seccomp profiles lack the call; then each one is closed."""
    told = run_confined(tool, "descriptors.py")

    assert told["result"] == "complete"
    kinds = {link.split(":")[0].rpartition("/")[2] for link in told["links"]}
    # its reader's pidfd; core, messages, and what it looks at memory through; its own page map
    assert kinds == {"anon_inode", "pipe", "pagemap"}
    assert len(told["links"]) == 6


def test_standard_output_is_enough(tool, open_directory, extension):
    """The whole file system is read-only; the core comes out of a pipe."""
    core = open_directory / "core"
    program = [sys.executable, PROGRAMS / "every_thread.py", "linux-elf", "-", extension]
    confined = [tool("bwrap"), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *program]

    with core.open("wb") as file:
        done = subprocess.run(
            confined, stdout=file, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
        )

    assert done.returncode == 0, done.stderr
    assert_every_thread_is_whole(json.loads(done.stderr), core, tool)


def assert_every_thread_is_whole(told, core, tool):
    """Pystack shows each thread's Python and C frames."""
    command = [tool("pystack"), "--no-color", "core", "--native", core, sys.executable]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    found = {int(tid) for tid in re.findall(r"^Traceback for thread (\d+) ", shown, re.MULTILINE)}
    assert found == {*told["threads"].values(), told["main"]}
    assert "Unable to merge" not in shown
    for function in told["threads"]:
        assert f"in {function}" in shown
