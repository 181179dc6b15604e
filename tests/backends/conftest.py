"""The files that stop threads, and native programs built from them."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
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
def build(native, tmp_path_factory):
    """Return a function that builds one of the programs with some options, once."""
    built = {}

    def compile_with(name, *options):
        if (name, options) not in built:
            program = tmp_path_factory.mktemp("program") / name
            warnings = ["-Wall", "-Wextra", "-Werror", "-Wl,-z,now"]
            command = ["cc", "-std=gnu11", "-g", *warnings, *options, f"-I{native.folder}"]
            sources = [native.programs / f"{name}.c", *native.stopping]
            subprocess.run([*command, *sources, "-o", program, "-lpthread", "-lrt"], check=True)
            built[name, options] = program
        return built[name, options]

    return compile_with


@pytest.fixture(scope="session")
def run():
    """Return a function that runs a native program; it returns what JSON that prints."""

    def rows_of(program, *arguments):
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return rows_of
