"""What ``gencore cache`` lists and removes, and what ``gencore list --all`` shows."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gencore
from gencore import _private_directory
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core
from gencore.cli.leftovers import sweep_leftovers
from gencore.output import Output

DEBUGGER = "#!/bin/sh\necho ready\nread line\n"
KILLED = """
import os, signal, sys
from pathlib import Path
from gencore.output import Output

with Output(Path(sys.argv[1]), "killed") as output, output.create("core") as file:
    file.write(b"x" * (1 << 20))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def cli(inside, monkeypatch, tmp_path):
    """Return a function that runs the command line, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return inside


@pytest.fixture
def killed(tmp_path):
    """Return a directory in which a dump was killed."""
    directory = tmp_path / "dumps"
    directory.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, directory], check=False)
    assert len(os.listdir(directory)) == 1
    return directory


def entries(cli, *options):
    code, out, _ = cli("cache", "--json", *options)
    assert code == 0
    shown = json.loads(out)
    assert shown["schema_version"] == "1.0"
    assert shown["size"] == sum(entry["size"] for entry in shown["entries"])
    return shown["entries"]


def used(path, days):
    """Make a copy look as if it had been used last so many days ago."""
    os.utime(path, times=(time.time() - days * 86400,) * 2)


def test_copies_are_listed_and_removed(cli, bundle, tmp_path):
    """With what they take up; the list is empty afterwards."""
    assert entries(cli) == []
    cli("open", bundle, "--print")
    top = bundle.name.removesuffix(".tar.gz")

    (entry,) = entries(cli)
    text = cli("cache")[1]
    code, out, err = cli("cache", "clear")

    assert entry["path"].startswith(f"{tmp_path}/cache/gencore/bundles/")
    assert entry["path"].endswith(top)
    assert (entry["kind"], entry["state"], entry["error"]) == ("copy", "unused", None)
    assert entry["size"] > 1 << 20
    assert f"unused   {entry['path']}" in text
    assert (code, err) == (0, "")
    assert out.startswith(f"removed {entry['path']} (")
    assert entries(cli) == []


def test_only_what_was_unused_for_long_is_removed(cli, bundle):
    """A copy that is opened again counts as new."""
    cli("open", bundle, "--print")
    (entry,) = entries(cli)
    place = Path(entry["path"]).parent

    used(place, days=2)
    assert json.loads(cli("cache", "clear", "--older-than", "3d", "--json")[1])["removed"] == []
    used(place, days=4)
    cli("open", bundle, "--print")
    assert cli("cache", "clear", "--older-than", "3d")[:2] == (0, "")
    used(place, days=4)
    (removed,) = json.loads(cli("cache", "clear", "--older-than", "3d", "--json")[1])["removed"]

    assert removed["path"] == entry["path"]
    assert not place.exists()


def test_an_age_that_means_nothing_is_wrong_usage(cli):
    """Nothing is removed."""
    code, _, err = cli("cache", "clear", "--older-than", "soon")

    assert code == 2
    assert "invalid duration: 'soon'" in err


def test_a_copy_that_a_debugger_works_on_stays(cli, bundle, tmp_path):
    """It has the lock of the command that it took the place of."""
    debugger = tmp_path / "bin/gdb"
    debugger.parent.mkdir()
    debugger.write_text(DEBUGGER)
    debugger.chmod(0o755)
    path = f"{debugger.parent}:{os.environ['PATH']}"
    with subprocess.Popen(
        [sys.executable, "-m", "gencore", "open", "--quiet", bundle],
        env={**os.environ, "PATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        states = [entry["state"] for entry in entries(cli)]
        removed = cli("cache", "clear")[:2]
        process.communicate("")

    assert states == ["in use"]
    assert removed == (0, "")
    assert [entry["state"] for entry in entries(cli)] == ["unused"]


@pytest.fixture
def half_a_copy(cli, bundle, tmp_path):
    """Kill a command while it unpacks; return its exit code and the cache."""
    del cli

    def kill(number):
        command = [sys.executable, "-m", "gencore", "open", "--quiet", bundle, "--print"]
        slow = "import sys, time, gencore.bundle.extraction as e; real = e._copy\n"
        slow += "def copy(*a): real(*a); print('copied', flush=True); sys.stdin.read()\n"
        slow += "e._copy = copy; from gencore.cli import main; main()"
        command[1:3] = ["-c", slow]
        unignored = ["env", "--default-signal=HUP,INT", *command]  # as nohup(1) may have left them
        with subprocess.Popen(
            unignored, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "copied\n"
            process.send_signal(number)
            process.communicate()
        return process.returncode, tmp_path / "cache/gencore/bundles"

    return kill


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_told_to_end_leaves_nothing(half_a_copy, number):
    """As after Ctrl-C; the exit code is that of a shell."""
    code, cache = half_a_copy(number)

    assert code == 128 + number
    assert list(cache.iterdir()) == []


def test_half_a_copy_is_swept_whatever_its_age(half_a_copy, cli, bundle):
    """And does not keep the bundle from being unpacked."""
    _, cache = half_a_copy(signal.SIGKILL)
    (half,) = entries(cli)
    assert (half["kind"], half["state"]) == ("leftover", "unused")

    cli("open", bundle, "--print")
    assert [entry["kind"] for entry in entries(cli)] == ["copy"]
    assert list(cache.rglob("*.part")) == []

    cli("cache", "clear")
    half_a_copy(signal.SIGKILL)
    assert (
        len(json.loads(cli("cache", "clear", "--older-than", "4w", "--json")[1])["removed"]) == 1
    )
    assert list(cache.iterdir()) == []


def test_a_directory_of_dumps_is_cleared_if_it_is_named(cli, killed):
    """Only of what no dump is using."""
    with Output(killed, "live").prepare() as output:
        states = {entry["path"]: entry["state"] for entry in entries(cli, "--directory", killed)}
        code, out, _ = cli("cache", "clear", "--directory", killed)
        assert output.path.is_dir()

    (dead,) = (path for path, state in states.items() if state == "dead")
    assert sorted(states.values()) == ["dead", "in use"]
    assert (code, out) == (0, f"removed {dead} (1.0 MiB)\n")
    assert os.listdir(killed) == []


def test_list_shows_unfinished_dumps_if_asked(cli, killed):
    """And removes nothing."""
    (name,) = os.listdir(killed)

    assert cli("list", killed)[1] == ""
    assert "leftovers" not in json.loads(cli("list", "--json", killed)[1])
    text = cli("list", "--all", killed)[1]
    (row,) = json.loads(cli("list", "--all", "--json", killed)[1])["leftovers"]

    assert text.endswith(f"{killed}/{name}  dead\n")
    assert (row["path"], row["state"], row["size"]) == (f"{killed}/{name}", "dead", 1 << 20)
    assert os.listdir(killed) == [name]


def test_what_gencore_did_not_put_into_the_cache_stays(cli, tmp_path):
    """Folders of other names, and of ours that others could have filled, are not listed either."""
    cache = tmp_path / "cache/gencore/bundles"
    for name, mode in [("notes", 0o700), ("0" * 32, 0o755), ("f" * 31, 0o700)]:
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_text("not a copy")
        (cache / name).chmod(mode)
    (cache / ("1" * 32)).write_text("not a folder")
    (cache / ("2" * 32)).symlink_to(cache / "notes")
    before = sorted(cache.rglob("*"))

    assert entries(cli) == []
    assert cli("cache", "clear") == (0, "", "")

    assert sorted(cache.rglob("*")) == before


def test_a_copy_that_others_could_have_made_is_refused(monkeypatch, tmp_path, bundle):
    """A debugger would load what is in it: a cache in /tmp may be filled by anybody."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with open_core(bundle) as opened, unpacked(opened) as copy:
        place = copy.folder.parent
    place.chmod(0o777)

    with (
        open_core(bundle) as opened,
        pytest.raises(gencore.OutputError, match="belongs to another user, or is accessible"),
        unpacked(opened),
    ):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root has files of another user")
@pytest.mark.parametrize("name", ["gencore", "gencore/bundles"])
def test_a_cache_in_a_directory_of_another_user_is_refused(monkeypatch, tmp_path, bundle, name):
    """They could rename it, and put a directory of their own in its place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / name).mkdir(parents=True)
    os.chown(tmp_path / name, 65534, 65534)

    with (
        open_core(bundle) as opened,
        pytest.raises(gencore.OutputError, match="belongs to another user"),
        unpacked(opened),
    ):
        pass


def test_a_bundle_written_in_place_is_another_one(monkeypatch, tmp_path, write_bundle):
    """Even if its size and its time of modification are what they were."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    manifest = json.dumps({"process": {"executable": {"path": "/core"}}}).encode()
    path = write_bundle(tmp_path / "a.tar.gz", {"manifest.json": manifest, "core": b""})
    before = path.stat()
    with open_core(path) as opened, unpacked(opened) as copy:
        first = copy.folder
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with open_core(path) as opened, unpacked(opened) as copy:
        assert copy.folder != first


def test_what_dies_while_leftovers_are_looked_for_is_removed_and_listed(monkeypatch, tmp_path):
    """Its maker lived when the directory was read first."""
    names_in = _private_directory.names_in

    def late(fd):
        subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
        return names_in(fd)

    monkeypatch.setattr(_private_directory, "names_in", late)

    assert [row["state"] for row in sweep_leftovers(tmp_path)] == ["dead"]


def test_open_says_where_its_copy_stays(cli, bundle):
    """It is the memory of a process."""
    _, _, err = cli("open", bundle, "--print")
    (entry,) = entries(cli)

    assert err == f"unpacked   {Path(entry['path']).parent}; to remove it: gencore cache clear\n"
    assert cli("open", bundle, "--print", "--quiet")[2] == ""


def test_stacks_leave_no_copy_unless_asked_to(cli, bundle):
    """One that was kept is used, and stays."""
    assert cli("stacks", bundle)[0] == 0
    assert entries(cli) == []

    assert "to remove it: gencore cache clear" in cli("stacks", "--keep", bundle)[2]
    (kept,) = entries(cli)
    cli("stacks", bundle)

    assert entries(cli) == [{**kept, "used_at": entries(cli)[0]["used_at"]}]


@pytest.fixture
def another(bundle, tmp_path):
    """Return a second bundle, which gets a copy of its own."""
    return Path(shutil.copy(bundle, tmp_path / "another.tar.gz"))


@pytest.mark.parametrize(
    ("limits", "days"),
    [({"GENCORE_CACHE_BYTES": "1"}, 0), ({"GENCORE_CACHE_AGE": "1d"}, 2), ({}, 8)],
)
def test_old_copies_go_when_new_ones_come(  # noqa: PLR0917 - fixtures
    cli, bundle, another, monkeypatch, limits, days
):
    """Beyond the limits, which have defaults; the new one stays even if it alone is too large."""
    for variable, value in limits.items():
        monkeypatch.setenv(variable, value)
    cli("open", bundle, "--print")
    (old,) = entries(cli)
    used(Path(old["path"]).parent, days)

    cli("open", another, "--print")

    (new,) = entries(cli)
    assert Path(new["path"]).parent != Path(old["path"]).parent


def test_copies_within_the_limits_stay(cli, bundle, another):
    """Two small ones, of today."""
    cli("open", bundle, "--print")
    cli("open", another, "--print")

    assert len(entries(cli)) == 2


def test_a_limit_that_means_nothing_is_wrong_usage(cli, bundle, monkeypatch):
    """It is named."""
    monkeypatch.setenv("GENCORE_CACHE_BYTES", "much")

    code, _, err = cli("open", bundle, "--print")

    assert code == 2
    assert "GENCORE_CACHE_BYTES: invalid size: 'much'" in err


def test_files_of_another_user_in_a_copy_are_refused(cli, bundle):
    """Whoever may write to the copy's directory could have put them there."""
    cli("open", bundle, "--print")
    (entry,) = entries(cli)
    foreign = Path(entry["path"]) / "core"
    try:
        os.chown(foreign, 54321, 54321)
    except PermissionError:
        pytest.skip("only root can give files away")

    code, out, err = cli("open", bundle, "--print")

    assert (code, out) == (4, "")
    assert "has files of another user" in err
    assert "gencore cache clear" in err


def test_the_cache_is_closed_to_others(cli, bundle, tmp_path):
    """They could put the copy of one bundle in the place of another's."""
    cache = tmp_path / "cache/gencore/bundles"
    cache.mkdir(parents=True)
    cache.chmod(0o777)

    assert cli("open", bundle, "--print")[0] == 0
    assert cache.stat().st_mode & 0o777 == 0o700
