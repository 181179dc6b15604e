"""Where the unpacked copies of bundles are kept."""

from pathlib import Path

import pytest

from gencore.bundle import cache


@pytest.mark.parametrize(
    ("base", "place"),
    [("/there", "/there/gencore/bundles"), ("there", None), ("", None), (None, None)],
)
def test_only_an_absolute_cache_home_is_obeyed(monkeypatch, tmp_path, base, place):
    """The XDG base directory specification says to ignore relative ones."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if base is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", base)

    assert cache._cache() == Path(place or tmp_path / ".cache/gencore/bundles")
