"""What the Makefile would do on a fresh clone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def steps(tmp_path, tool):
    """Return a function that lists the commands that make would run for a target."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def of(target):
        command = [tool("make"), "--dry-run", target]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}  # of our own
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout

    return of


def test_a_demo_needs_the_package_alone(steps):
    """What developers need beside it takes minutes to install."""
    assert "--group" not in steps("demo")
    assert "--group dev" in steps("test")


def test_the_bundle_of_a_demo_is_kept(steps):
    """Those before it are removed, and none after it."""
    *_, last = steps("demo").strip().splitlines()

    assert last.endswith("gencore demo -o build/demo")
