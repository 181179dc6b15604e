"""One abi3 wheel serves every supported Python, installed and not from the source tree."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

DUMP = """
import gencore, json, sys, tarfile
bundle = gencore.collect_core(directory=".")
with tarfile.open(bundle) as tar:
    count = len(tar.getnames())
print(json.dumps([gencore.__file__, sys.version_info[:2], count]))
"""

IN_ANOTHER_INTERPRETER = """
import sys
try:
    from _interpreters import create, exec as run
except ImportError:  # before Python 3.13
    from _xxsubinterpreters import create, run_string as run
code = "import sys; sys.path[:] = {!r}; from gencore_backends.linux import _native"
failed = run(create(), code.format(sys.path))
sys.exit(failed and failed.formatted)
"""


def test_wheel_is_for_the_stable_abi(wheel):
    """Its tag promises Python 3.11 and everything later."""
    assert "-cp311-abi3-" in wheel.name


def test_wheel_has_what_is_no_python(wheel):
    """The report's templates, style and script, and the schemas."""
    names = set(zipfile.ZipFile(wheel).namelist())

    templates = "gencore/html_report/templates"
    assert {f"{templates}/{name}" for name in ("page.html", "style.css", "script.js")} <= names
    assert "gencore_collectors/manifest/schema.json" in names
    assert "gencore/cli/schemas/list.json" in names


@pytest.mark.timeout(400)
def test_the_wheel_dumps(installed, tmp_path):
    """A bundle is made by the installed package."""
    version, python = installed

    done = subprocess.run(
        [python, "-c", DUMP], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    file, found, count = json.loads(done.stdout)

    assert "site-packages" in file
    assert found == [int(part) for part in version.split(".")]
    assert count > 5


@pytest.mark.timeout(400)
def test_the_native_part_loads_in_a_subinterpreter(installed, tmp_path):
    """One that has a GIL of its own since 3.12, and shares it in 3.11."""
    _, python = installed

    command = [python, "-c", IN_ANOTHER_INTERPRETER]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(400)
def test_a_subinterpreter_goes_on_after_a_dump_of_the_main_one(installed, tmp_path):
    """Its frames and their memory are left to it."""
    command = [installed[1], PROGRAMS / "beside_subinterpreters.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["complete", "complete"]
