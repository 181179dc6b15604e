"""The native part for macOS: it compiles and links for both architectures. It runs on no Linux."""

import os
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "backends" / "gencore_backends" / "macos" / "native"
MAGIC, DYNAMIC_LIBRARY = 0xFEEDFACF, 6
"""MH_MAGIC_64 and MH_DYLIB of <mach-o/loader.h>."""


@pytest.mark.parametrize(
    ("architecture", "cpu_type"), [("aarch64", 0x0100000C), ("x86_64", 0x01000007)]
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
