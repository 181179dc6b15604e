"""The native part for aarch64: it compiles, and what qemu-user can run of it works."""

import subprocess

import pytest


@pytest.mark.exhaustive
def test_everything_but_the_python_face_compiles_for_aarch64(native, tool, tmp_path):
    """Without a warning; what needs Python's headers has nothing of an architecture."""
    sources = [source for source in native.folder.glob("*.c") if "module" not in source.name]
    options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-c"]

    subprocess.run(
        [tool("aarch64-linux-gnu-gcc"), *options, *sources], check=True, cwd=tmp_path, timeout=100
    )

    assert len(list(tmp_path.glob("*.o"))) == len(sources) > 5


@pytest.fixture
def build_for_aarch64(native, tool, tmp_path):
    """Return a function that builds one of the programs, static, for qemu-user."""

    def build_program(name):
        sources = [native.programs / f"{name}.c", *native.stopping]
        options = ["-static", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        command = [tool("aarch64-linux-gnu-gcc"), *options, f"-I{native.folder}", *sources]
        subprocess.run([*command, "-o", tmp_path / name, "-lpthread"], check=True)
        return tmp_path / name

    return build_program


def test_a_computing_threads_registers_are_captured(build_for_aarch64, tool):
    """General, floating-point and thread-pointer registers, under qemu-user, 50 times."""
    program = build_for_aarch64("aarch64_registers")

    command = [tool("qemu-aarch64"), program, "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)

    assert int(done.stdout) >= 45  # qemu-user holds a signal back at times: it looks taken


def test_a_frame_leads_a_traced_thread_back(build_for_aarch64, tool):
    """Under qemu-user, which has no ptrace: the frame alone, and that of a child, which exits.

    And the registers of a call that a signal has ended, which is recognized and made again.
    """
    program = build_for_aarch64("way_back")

    for arguments, expected in (
        ((), (3, "back\n")),
        (("exit",), (0, "")),
        (("again",), (3, "again\n")),
    ):
        command = [tool("qemu-aarch64"), program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert (done.returncode, done.stdout) == expected
