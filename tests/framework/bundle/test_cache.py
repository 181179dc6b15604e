"""Where the unpacked copies of bundles are kept."""

import io
import os
import pwd
from pathlib import Path

import pytest

from gencore._cache_directory import cache_directory
from gencore.bundle import cache
from gencore.errors import OutputError


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

    assert cache_directory("bundles") == Path(place or tmp_path / ".cache/gencore/bundles")


def test_an_empty_home_is_that_of_the_user(monkeypatch):
    """And not the root directory, which is what Python makes of it."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")

    assert cache_directory("bundles") == Path(
        pwd.getpwuid(os.geteuid()).pw_dir, ".cache/gencore/bundles"
    )


def test_a_missing_home_is_not_made(monkeypatch, tmp_path):
    """It is that of a service's user, who has none, and whom root plays."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nonexistent"))

    with pytest.raises(OutputError, match="cannot be created"), cache.spooled(io.BytesIO()):
        pass
    assert os.listdir(tmp_path) == []


def test_a_cache_that_cannot_be_made_is_reported(monkeypatch):
    """In /proc every name is missing, and stays so however often it is created."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")

    with pytest.raises(OutputError, match="cannot be created"), cache.spooled(io.BytesIO()):
        pass
