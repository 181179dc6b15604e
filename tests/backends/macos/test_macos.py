"""The native part for macOS: it compiles and links for both architectures.

Linux runs only what the child does after the fork, as far as it is POSIX and not Mach.
"""

import errno
import os
import signal
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(200)  # a compiler without a cache; see conftest.py on the order

NATIVE = Path(__file__).parents[3] / "backends" / "gencore_backends" / "macos" / "native"
NATIVE_TESTS = Path(__file__).parents[2] / "native"
MAGIC, DYNAMIC_LIBRARY = 0xFEEDFACF, 6
"""MH_MAGIC_64 and MH_DYLIB of <mach-o/loader.h>."""


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("architecture", "cpu_type"),
    [("aarch64", 0x0100000C), ("x86_64", 0x01000007)],
)
def test_it_is_a_module_for_macos(tmp_path, architecture, cpu_type):
    """Without a warning, with the stable ABI and everything but Python's own symbols resolved."""
    pytest.importorskip("ziglang")
    module = tmp_path / "_native.abi3.so"
    options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-DPy_LIMITED_API=0x030b0000"]
    linking = ["-shared", "-undefined", "dynamic_lookup", "-o", module]
    subprocess.run(
        [
            *(sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-macos"),
            *(*options, f"-I{sysconfig.get_path('include')}"),
            *(*sorted(NATIVE.glob("*.c")), *linking),
        ],
        env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(tmp_path / "cache")},
        check=True,
        timeout=110,
    )

    built = module.read_bytes()
    assert struct.unpack_from("<II4xI", built) == (MAGIC, cpu_type, DYNAMIC_LIBRARY)
    assert b"_PyInit__native\0" in built


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    """Return a function that runs the child's code: how it ended, the failed step, and errno."""
    program = tmp_path_factory.mktemp("macos") / "child"
    sources = [NATIVE_TESTS / "macos_child.c", NATIVE / "after_fork.c"]
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    subprocess.run(["cc", *options, *sources, "-o", program], check=True, timeout=60)

    def run(mode):
        root = os.open("/", os.O_RDONLY)
        try:
            done = subprocess.run(
                [program, mode], stdin=root, capture_output=True, text=True, check=True, timeout=60
            )
        finally:
            os.close(root)
        ended, number, step, failure = done.stdout.split()
        return ended, int(number), int(step), int(failure)

    return run


def test_the_child_dies_of_sigabrt_whatever_the_application_did_to_it(child):
    """Ignored and blocked; by then it has its directory and its limit, and no descriptor."""
    assert child("") == ("signal", signal.SIGABRT, -1, 0)


@pytest.mark.parametrize(
    ("mode", "step", "failure"), [("directory", 2, errno.EBADF), ("wipe", 3, errno.ENOMEM)]
)
def test_a_child_that_fails_says_at_which_step(child, mode, step, failure):
    """As numbers; the native part has their names."""
    assert child(mode) == ("exit", 1, step, failure)
