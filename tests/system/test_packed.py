"""A program that PyInstaller has packed dumps itself: its hook comes with the wheel."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

PROGRAM = """
import sys
import gencore
from gencore.cli import main
print(gencore.start(directory=sys.argv[1]).result().result, flush=True)
sys.argv[1:] = ["verify", "--help"]
main()
"""


def test_pyinstaller_is_led_to_the_hooks():
    """By the entry point that it asks for: one of the package, one of the commands."""
    (found,) = distribution("gencore").entry_points.select(group="pyinstaller40")
    hooks = {file.name for folder in found.load()() for file in Path(folder).glob("hook-*.py")}

    assert hooks == {"hook-gencore.py", "hook-gencore.cli.py"}


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_a_packed_program_makes_a_bundle(wheel, tmp_path):
    """With the plug-ins that are used if none is named, and the commands, imported by name."""
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip = [sys.executable, "-m", "pip", "--python", python]
    install = ["install", "--quiet", "--no-compile", wheel, "pyinstaller>=6.22"]
    subprocess.run([*pip, *install], check=True)
    (tmp_path / "program.py").write_text(PROGRAM)

    command = [python, "-m", "PyInstaller", "--log-level", "ERROR", "program.py"]
    settings = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(tmp_path)}
    subprocess.run(command, cwd=tmp_path, env=settings, check=True)
    packed = [tmp_path / "dist" / "program" / "program", tmp_path]
    done = subprocess.run(packed, capture_output=True, text=True, check=False)

    assert done.stdout.startswith("complete\nUsage: program verify"), done.stdout + done.stderr
