"""What tests of several commands use."""

import pytest

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
