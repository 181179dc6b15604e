"""What is shown while a dump is made."""

import threading

import gencore
from gencore.cli import progress


def test_nothing_waits_longer_than_the_dump_takes(tmp_path, monkeypatch):
    """However seldom its progress is shown."""
    shown = threading.Event()

    class Slow(gencore.Collector):
        name = "slow"
        api_version = (1, 0)

        def finish(self, _dump):
            shown.wait(60)
            return []

    monkeypatch.setattr(progress, "_INTERVAL", 3600)
    monkeypatch.setattr(progress, "_words", lambda _: shown.set() or "being made")
    dump = gencore.start(directory=tmp_path, content="stacks", collectors=[Slow])

    assert progress.wait_for(dump, quiet=False).result == "complete"
