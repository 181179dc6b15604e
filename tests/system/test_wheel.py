"""One abi3 wheel serves every supported Python, installed and not from the source tree."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DUMP = """
import gencore, json, sys, tarfile
bundle = gencore.collect_core(directory=".")
with tarfile.open(bundle) as tar:
    count = len(tar.getnames())
print(json.dumps([gencore.__file__, sys.version_info[:2], count]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel once."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    ignored = shutil.ignore_patterns(".venv", ".git", "build", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        directory,
        source,
    ]
    subprocess.run(command, check=True)
    (built,) = directory.glob("*.whl")
    return built


def find_python(version):
    """Find an interpreter on PATH, or among those that pyenv has."""
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout
        candidates += sorted(Path(root.strip()).glob(f"versions/{version}.*/bin/python"))
    for candidate in filter(None, candidates):
        if not subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode:
            return candidate
    return None


def test_wheel_is_for_the_stable_abi(wheel):
    """Its tag promises Python 3.11 and everything later."""
    assert "-cp311-abi3-" in wheel.name


@pytest.mark.timeout(400)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_dumps(wheel, tmp_path, version):
    """A bundle is made by the installed package."""
    interpreter = find_python(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} on this machine")
    subprocess.run([interpreter, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)

    done = subprocess.run(
        [python, "-c", DUMP], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    file, found, count = json.loads(done.stdout)

    assert file.startswith(str(tmp_path))
    assert found == [int(part) for part in version.split(".")]
    assert count > 5
