"""The native part for aarch64: it compiles; it was never run on such a machine."""

import subprocess
from pathlib import Path

NATIVE = Path(__file__).parents[2] / "backends" / "gencore_backends" / "linux" / "native"


def test_everything_but_the_python_face_compiles_for_aarch64(tool, tmp_path):
    """Without a warning; module.c needs Python's headers and has nothing of an architecture."""
    sources = [source for source in NATIVE.glob("*.c") if source.name != "module.c"]
    options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-c"]

    subprocess.run(
        [tool("aarch64-linux-gnu-gcc"), *options, *sources], check=True, cwd=tmp_path, timeout=100
    )

    assert len(list(tmp_path.glob("*.o"))) == len(sources) > 5
