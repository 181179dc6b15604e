"""A package made by `gencore plugins new` is installed and passes its suite, as it is."""

import functools
import json
import re

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def run(run_of, with_testing):
    """Return a function that runs a program of the environment; it returns what that prints."""
    return functools.partial(run_of, with_testing)


@pytest.fixture
def install(install_into, with_testing):
    """Return a function that installs a package into the environment."""
    return functools.partial(install_into, with_testing.parent)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        pytest.param("backend", "unsupported", marks=pytest.mark.exhaustive),
        ("collector", "ok"),
        pytest.param("destination", "ok", marks=pytest.mark.exhaustive),
        pytest.param("filter", "ok", marks=pytest.mark.exhaustive),
    ],
)
def test_a_new_package_passes_its_suite_at_once(run, install, tmp_path, kind, status):
    """It was written by the installed wheel, templates and all."""
    package = tmp_path / f"gencore-new-{kind}"
    run("gencore", "plugins", "new", kind, f"new-{kind}")
    install("--no-build-isolation", "--no-deps", package)

    said = run("python", "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", package / "tests")
    (row,) = json.loads(run("gencore", "plugins", "show", f"new-{kind}", "--json"))["plugins"]

    assert int(re.search(r"^(\d+) passed", said, re.MULTILINE)[1]) > 5
    assert "failed" not in said
    assert (row["distribution"], row["status"]) == (f"gencore-new-{kind}", status)
