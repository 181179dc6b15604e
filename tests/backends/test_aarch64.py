"""The native part for aarch64: it compiles, and what qemu-user can run of it works."""

import subprocess
from pathlib import Path

NATIVE = Path(__file__).parents[2] / "backends" / "gencore_backends" / "linux" / "native"
STOPPING = (
    "threads.c",
    "calls.c",
    "resume.c",
    "retries.c",
    "transfers.c",
    "memory_access.c",
    "proc_text.c",
)
NATIVE_TESTS = Path(__file__).parents[1] / "native"


def test_everything_but_the_python_face_compiles_for_aarch64(tool, tmp_path):
    """Without a warning; module.c needs Python's headers and has nothing of an architecture."""
    sources = [source for source in NATIVE.glob("*.c") if source.name != "module.c"]
    options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-c"]

    subprocess.run(
        [tool("aarch64-linux-gnu-gcc"), *options, *sources], check=True, cwd=tmp_path, timeout=100
    )

    assert len(list(tmp_path.glob("*.o"))) == len(sources) > 5


def test_a_computing_threads_registers_are_captured(tool, tmp_path):
    """General, floating-point and thread-pointer registers, under qemu-user, 50 times."""
    program = tmp_path / "registers"
    sources = [NATIVE_TESTS / "aarch64_registers.c", *map(NATIVE.joinpath, STOPPING)]
    options = ["-static", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    compiler = tool("aarch64-linux-gnu-gcc")
    subprocess.run([compiler, *options, *sources, "-o", program, "-lpthread"], check=True)

    command = [tool("qemu-aarch64"), program, "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)

    assert done.stdout == "50\n"
