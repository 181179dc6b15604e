"""What tests of several commands use."""

import subprocess
import sys

import pytest

PROGRAM = """
import gencore
def bundle():
    gencore.collect_core(content="stacks", sources=True)
bundle()
"""

STRANGER = """
print("imported")
from gencore import Backend, Verdict
class Stranger(Backend):
    name = "stranger"
    priority = 10**9
    api_version = (1, 0)
    def probe(self, request):
        return Verdict.yes(facts={"seen": "here"})
    def snapshot(self, *arguments, **options):
        raise NotImplementedError
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Install a third party's backend that works."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gencore.backends]\nstranger = stranger:Stranger\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture(scope="session")
def bundle(make_once):
    """Make one bundle of a program, with its source: it is read sooner than that of the tests."""

    def dump(folder):
        (folder / "program.py").write_text(PROGRAM)
        subprocess.run([sys.executable, "program.py"], cwd=folder, check=True)

    (made,) = make_once("bundle", dump).glob("*.tar.gz")
    return made


@pytest.fixture(scope="session")
def pid(bundle):
    """Return the process ID of that program, which is in the name."""
    return int(bundle.name.split(".")[2])


@pytest.fixture
def small(monkeypatch, tmp_path_factory):
    """Let dumps be of the stacks alone, where it is not the core that a test looks at."""
    file = tmp_path_factory.mktemp("settings") / "gencore.toml"
    file.write_text('content = "stacks"')
    monkeypatch.setenv("GENCORE_CONFIG", str(file))
