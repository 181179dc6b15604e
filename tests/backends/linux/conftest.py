"""The files that stop threads, and native programs built from them."""

import contextlib
import errno
import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "backends" / "gencore_backends" / "linux" / "native"
PROGRAMS = ROOT / "tests" / "native"
STOPPING = (
    *("threads", "stoppable", "borrowed_signal", "calls", "resume", "retries", "transfers"),
    *("memory_access", "proc_text"),
)
"""They need nothing of Python."""


@pytest.fixture(scope="session")
def native():
    """Name the folders of the native part and of its tests, and the files that stop threads."""
    return SimpleNamespace(
        folder=NATIVE, programs=PROGRAMS, stopping=[NATIVE / f"{part}.c" for part in STOPPING]
    )


@pytest.fixture(scope="session")
def build(native, make_once):
    """Return a function that builds one of the programs with some options, once."""

    def build_program(name, *options):
        warnings = ["-Wall", "-Wextra", "-Werror", "-Wl,-z,now"]
        command = ["cc", "-std=gnu11", "-g", *warnings, *options, f"-I{native.folder}"]
        sources = [native.programs / f"{name}.c", *native.stopping]

        def compile_in(folder):
            program = ["-o", folder / name, "-lpthread", "-lrt"]
            subprocess.run([*command, *sources, *program], check=True)

        return make_once("".join([name, *options]).replace("/", "_"), compile_in) / name

    return build_program


@pytest.fixture(scope="session")
def run():
    """Return a function that runs a native program; it returns what JSON that prints."""

    def rows_of(program, *arguments):
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return rows_of


@pytest.fixture
def cgroup():
    """Return a function that moves a process into a memory cgroup with a limit in bytes."""
    top = Path("/sys/fs/cgroup/memory")
    made = top / f"gencore-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError:
        pytest.skip("needs a hierarchy of memory cgroups of version 1, and the right to add one")

    def move(pid, limit):
        (made / "memory.limit_in_bytes").write_text(str(limit))
        (made / "cgroup.procs").write_text(str(pid))

    yield move
    end_by = time.monotonic() + 60
    while not _is_removed(made):  # processes of a dump are ending
        assert time.monotonic() < end_by
        for pid in (made / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (top / "cgroup.procs").write_text(pid)
        time.sleep(0.01)


def _is_removed(cgroup):
    """Remove it, unless processes are in it, of which one that ends is not listed any more."""
    try:
        cgroup.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
