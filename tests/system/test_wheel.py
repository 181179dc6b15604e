"""One abi3 wheel serves every supported Python, installed and not from the source tree."""

import json
import subprocess
import zipfile

import pytest

DUMP = """
import gencore, json, sys, tarfile
bundle = gencore.collect_core(directory=".")
with tarfile.open(bundle) as tar:
    count = len(tar.getnames())
print(json.dumps([gencore.__file__, sys.version_info[:2], count]))
"""


def test_wheel_is_for_the_stable_abi(wheel):
    """Its tag promises Python 3.11 and everything later."""
    assert "-cp311-abi3-" in wheel.name


def test_wheel_has_what_is_no_python(wheel):
    """The report's templates, style and script, and the manifest's schema."""
    names = set(zipfile.ZipFile(wheel).namelist())

    templates = "gencore/html_report/templates"
    assert {f"{templates}/{name}" for name in ("page.html", "style.css", "script.js")} <= names
    assert "gencore_collectors/manifest/schema.json" in names


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
