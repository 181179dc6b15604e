"""The entry points of gencore itself, wherever its distribution is."""

import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from gencore._plugins.entry import GROUPS
from gencore._runtime.own_entry_points import own_entry_points
from gencore._version import __version__

METADATA = f"Metadata-Version: 2.1\nName: gencore\nVersion: {__version__}\n"
ENTRY_POINTS = "[other]\nraw = nothing\n\n[gencore.collectors]\nraw = place:Raw\n\n[rest]\na = b\n"


@pytest.mark.parametrize("group", [*GROUPS.values(), "gencore.agents"])
def test_they_are_those_of_the_metadata(group):
    """Neither more nor fewer."""
    expected = distribution("gencore").entry_points.select(group=group)

    assert own_entry_points(group) == {entry.name: entry.value for entry in expected}


def in_folder(place, version):
    info = place / f"gencore-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)


def in_archive(place, version):
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(f"gencore-{version}.dist-info/METADATA", METADATA)
        archive.writestr(f"gencore-{version}.dist-info/entry_points.txt", ENTRY_POINTS)


@pytest.mark.parametrize("put", [in_folder, in_archive])
@pytest.mark.parametrize("version", [__version__, "0.0.1"])
def test_they_are_found_wherever_an_import_would_find_them(tmp_path, monkeypatch, put, version):
    """In a folder or an archive, and of the installed version if the code is of another one."""
    place = tmp_path / "place"
    put(place, version)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "nowhere"), str(place)])

    assert own_entry_points("gencore.collectors") == {"raw": "place:Raw"}
    assert own_entry_points("gencore.backends") == {}


def test_nothing_on_the_path_prevents_that(tmp_path, monkeypatch):
    """Imports ignore what is no path there."""
    in_folder(tmp_path, __version__)
    monkeypatch.setattr(sys, "path", ["a\0b", None, 5, b"c", str(tmp_path)])

    assert own_entry_points("gencore.collectors") == {"raw": "place:Raw"}


def test_those_in_the_working_directory_are_not_read(tmp_path, monkeypatch):
    """Where somebody may have put them for others."""
    in_folder(tmp_path / "cwd", __version__)
    in_folder(tmp_path / "place", __version__)
    (tmp_path / "cwd" / f"gencore-{__version__}.dist-info" / "entry_points.txt").write_text("")
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path / "place")])

    assert own_entry_points("gencore.collectors") == {"raw": "place:Raw"}


def test_a_program_that_is_not_installed_has_none(tmp_path, monkeypatch):
    """Only its source is on the path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(Path(__file__).parent)])

    assert own_entry_points("gencore.collectors") == {}
