"""Hashes of libraries that are remembered, and when they are not believed."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gencore
from gencore import MappedFile, _known_hashes
from gencore._known_hashes import KnownHashes
from gencore.bundle import BundleReader, verify
from gencore.libraries import describe

EXECUTABLE = os.path.realpath(sys.executable)
WRONG = "0" * 64
"""What only who does not read a file can say of it."""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return the file of the hashes; the directory for caches is there, and empty."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/gencore/packed/hashes"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return a library that is believed although it was just made."""
    monkeypatch.setattr(_known_hashes, "_SETTLED", -3600)
    return Path(shutil.copy(EXECUTABLE, tmp_path / "library"))


def described(path):
    """Return the hash that a dump would state."""
    with KnownHashes() as hashes:
        return describe(MappedFile(path=str(path)), None, hashes).sha256


def make_wrong(kept):
    """Change what is remembered, so that it shows whether it is believed."""
    kept.write_text(json.dumps(dict.fromkeys(json.loads(kept.read_text()), WRONG)))


def sha256(path):
    """Return that of the file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_library_is_not_read_again(kept):
    """One that was installed long ago."""
    first = described(EXECUTABLE)
    make_wrong(kept)

    assert first == sha256(EXECUTABLE)
    assert described(EXECUTABLE) == WRONG
    assert kept.stat().st_mode & 0o777 == 0o600


def change_in_place(path):
    """Write another byte, and set the time of modification back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path):
    """Put another file in its place, of the same size, time and build ID."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


def append(path):
    """Make it longer."""
    with path.open("ab") as file:
        file.write(b"?")


@pytest.mark.parametrize("change", [change_in_place, replace, append])
def test_a_library_that_has_changed_is_read(kept, library, change):
    """However little, and whatever its times say."""
    described(library)
    make_wrong(kept)
    change(library)

    assert described(library) == sha256(library)


def test_a_library_that_was_just_changed_is_read(kept, tmp_path):
    """Within one step of the clock it may change again, unnoticed."""
    library = shutil.copy(EXECUTABLE, tmp_path / "library")

    assert described(library) == sha256(library)
    assert not kept.exists()


def test_a_library_that_changes_while_it_is_read_is_not_remembered(kept, library):
    """Nobody knows which of its contents was hashed."""

    class Changes(io.FileIO):
        def readinto(self, buffer):
            change_in_place(library)
            return super().readinto(buffer)

    with KnownHashes() as hashes, Changes(library) as file:
        hashes.sha256_of(file, "build ID")
    assert not kept.exists()


def test_another_build_id_is_another_library(kept, library):
    """The rest of its identity may be made up, by an image of a file system for instance."""
    described(library)
    make_wrong(kept)

    with KnownHashes() as hashes, io.FileIO(library) as file:
        assert hashes.sha256_of(file, "other")[1] == sha256(library)


def test_each_boot_begins_anew(kept, library, monkeypatch):
    """Devices have other numbers then, and power may have failed."""
    described(library)
    make_wrong(kept)
    monkeypatch.setattr(_known_hashes, "boot", lambda: "other")

    assert described(library) == sha256(library)


def test_where_the_boot_is_unknown_nothing_is_remembered(kept, library, monkeypatch):
    """Some containers do not show it."""
    monkeypatch.setattr(_known_hashes, "boot", str)

    assert described(library) == sha256(library)
    assert not kept.exists()


def test_a_library_without_a_build_id_is_read(kept, tmp_path, library):
    """As is a data file: nothing but their times says that they did not change."""
    plain = tmp_path / "plain"
    plain.write_bytes(library.read_bytes().replace(b"GNU\0", b"GNX\0"))

    assert described(plain) == sha256(plain)
    assert not kept.exists()


def test_a_library_on_a_file_system_that_is_only_read_is_read(kept, library, tool):
    """Its times are those that the maker of its image has chosen."""
    code = (
        "import io, sys; from gencore import _known_hashes as known; known._SETTLED = -3600\n"
        "with known.KnownHashes() as hashes, io.FileIO(sys.argv[1]) as file:"
        " hashes.sha256_of(file, 'id')"
    )
    place = library.parent / "image"
    place.mkdir()
    commands = 'mount -t tmpfs none "$1"; cp "$2" "$1/lib"; mount -o remount,ro "$1"; '
    remounted = ("unshare", "--mount", "sh", "-ec", commands + 'exec "$3" -c "$4" "$1/lib"')
    tool("unshare")
    subprocess.run([*remounted, "sh", place, library, sys.executable, code], check=True)

    assert not kept.exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", "[[1]]"])
def test_damage_is_as_if_nothing_were_known(kept, library, damage):
    """And is gone after the next dump."""
    described(library)
    whole = kept.read_text()
    kept.write_text(damage)

    assert described(library) == sha256(library)
    assert kept.read_text() == whole


def test_what_belongs_to_another_user_is_not_believed(kept, library):
    """It may have been put there while others could write to the directory."""
    described(library)
    make_wrong(kept)
    os.chown(kept, 65534, 65534)

    assert described(library) == sha256(library)


def test_no_directory_for_caches_is_made(tmp_path, library, monkeypatch):
    """The home of a service is left as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))

    assert described(library) == sha256(library)
    assert not (tmp_path / "none").exists()


def test_the_libraries_of_the_last_dump_are_remembered_first(kept, library, monkeypatch):
    """The file does not grow for ever."""
    monkeypatch.setattr(_known_hashes, "_MOST", 2)
    for number in range(4):
        described(shutil.copy(EXECUTABLE, library.with_name(f"{number}.so")))
    make_wrong(kept)

    assert len(json.loads(kept.read_text())) == 2
    assert described(library.with_name("3.so")) == WRONG
    assert described(library.with_name("0.so")) == sha256(EXECUTABLE)


def test_a_dump_with_remembered_hashes_is_what_they_say(kept, tmp_path):
    """Every member of the second bundle is checked, and its manifest is that of the first."""
    options = {"directory": tmp_path, "content": "stacks", "collectors": ["manifest", "archive"]}
    stated = []
    for name in ("first", "second"):
        with BundleReader(gencore.collect_core(name=name, **options)) as reader:
            assert all(check.ok for check in verify(reader))
            with reader.open("manifest.json") as file:
                rows = json.load(file)["libraries"]
        stated.append({row["path"]: row["sha256"] for row in rows})

    assert stated[0] == stated[1]
    assert stated[0][EXECUTABLE] in json.loads(kept.read_text()).values()
