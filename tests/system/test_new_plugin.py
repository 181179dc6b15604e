"""A package made by `gencore plugins new` is installed and passes its suite, as it is."""

import json
import re
import subprocess
import sys
from functools import partial

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Install the wheel, and what the suites and the build need, into a new environment."""
    made = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    install = [made / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "hatchling", f"{wheel}[testing]"], check=True)
    return made / "bin"


@pytest.fixture
def run(run_of, environment):
    """Return a function that runs a program of the environment; it returns what that prints."""
    return partial(run_of, environment)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("backend", "unsupported"), ("collector", "ok"), ("destination", "ok"), ("filter", "ok")],
)
def test_a_new_package_passes_its_suite_at_once(run, tmp_path, kind, status):
    """It was written by the installed wheel, templates and all."""
    package = tmp_path / f"gencore-new-{kind}"
    run("gencore", "plugins", "new", kind, f"new-{kind}")
    run("python", "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", package)

    said = run("python", "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", package / "tests")
    (row,) = json.loads(run("gencore", "plugins", "show", f"new-{kind}", "--json"))["plugins"]

    assert int(re.search(r"^(\d+) passed", said, re.MULTILINE)[1]) > 5
    assert "failed" not in said
    assert (row["distribution"], row["status"]) == (f"gencore-new-{kind}", status)
