"""Leftovers of dumps that were killed, and what looks like them."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

import gencore
from gencore import _private_directory
from gencore.output import Output
from gencore.testing import SimulatedBackend

DAY = 86400
RANDOM = "0123456789abcdef"
OTHER_BOOT = "ba5eba11cafe"

KILLED = """
import os, signal, sys
import gencore
from gencore.output import Output
from gencore.testing import SimulatedBackend

directory, stage = sys.argv[1:]
publish, published = Output.publish, []


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Last(gencore.Collector):
    name, api_version = "last", (1, 1)

    def observe(self, process):
        if stage == "observe":
            die()

    def begin(self, dump):
        if stage == "begin":
            die()

    def finish(self, dump):
        with dump.create("txt") as file:
            file.write(b"secret" * 10_000)
            if stage == "finish":
                file.flush()
                die()


def publish_or_die(output, artifact):
    if stage == "publish" and published:
        die()
    published.append(publish(output, artifact))
    return published[-1]


Output.publish = publish_or_die
gencore.Pipeline(
    backend="linux-elf" if sys.platform == "linux" else SimulatedBackend(),
    collectors=["raw", Last],
    directory=directory,
    name="killed-{id}",
    content="stacks",
).run()
"""
HOLDS = """
import sys
from pathlib import Path
from gencore.output import Output

with Output(Path(sys.argv[1]), "other") as output, output.create("core") as file:
    file.write(b"secret" * 10_000)
    file.flush()
    print("ready", flush=True)
    sys.stdin.read()
"""


def dump(directory, **options):
    return gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=directory, **options
    ).run()


def hidden(directory):
    return sorted(name for name in os.listdir(directory) if name.startswith("."))


@pytest.fixture
def live(tmp_path):
    """Return a process that is in the middle of a dump; it goes on until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("stage", ["observe", "begin", "finish", "publish"])
@pytest.mark.parametrize("destination", [None, "directory"])
def test_what_a_killed_dump_leaves_is_swept_by_the_next_one(tmp_path, stage, destination):
    """The directory is as if the killed one had not been; what was published stays."""
    command = [sys.executable, "-c", KILLED, tmp_path, stage]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    left = hidden(tmp_path)

    report = dump(tmp_path, destination=destination)

    assert hidden(tmp_path) == []
    assert [removal.path.name for removal in report.removed] == left
    assert len(left) == 1
    assert report.removed[0].size >= (60_000 if stage in {"finish", "publish"} else 0)
    assert report.removed[0].reason == "left by a dump that was killed"
    whole = [name for name in os.listdir(tmp_path) if name.startswith("killed-")]
    assert len(whole) == (stage == "publish")


def test_a_live_dump_of_another_process_is_not_touched(tmp_path, live):
    """It is swept once that process is dead."""
    (name,) = hidden(tmp_path)

    assert dump(tmp_path).removed == ()
    assert hidden(tmp_path) == [name]
    assert (tmp_path / name / "core").stat().st_size == 60_000

    live.kill()
    live.wait()
    assert [removal.path for removal in dump(tmp_path).removed] == [tmp_path / name]
    assert hidden(tmp_path) == []


def test_a_live_dump_of_this_process_is_not_touched(tmp_path):
    """Two may go on at once."""
    with Output(tmp_path, "first").prepare() as first:
        assert dump(tmp_path).removed == ()
        assert first.path.is_dir()


def imitate(directory, name, *, mode=0o700, age=0.0):
    """Make a directory with a file in it."""
    made = directory / name
    made.mkdir()
    (made / "core").write_bytes(b"mine")
    for path in (made / "core", made):
        os.utime(path, times=(time.time() - age,) * 2)
    made.chmod(mode)
    return made


def here(work="core_x"):
    """Return the name of a leftover of this boot."""
    return f".{work}.{_private_directory.boot()}.{RANDOM}.part"


@pytest.mark.parametrize(
    ("name", "options", "swept"),
    [
        (here(), {}, True),
        (here(), {"mode": 0o755}, False),
        (f".core_x.{OTHER_BOOT}.{RANDOM}.part", {"age": 6 * DAY}, False),
        (f".core_x.{OTHER_BOOT}.{RANDOM}.part", {"age": 8 * DAY}, True),
        (f".core_x.{RANDOM}.part", {"age": 6 * DAY}, False),
        (f".core_x.{RANDOM}.part", {"age": 8 * DAY}, True),
        (f"core_x.{RANDOM}.part", {"age": 8 * DAY}, False),
        (".core_x.part", {"age": 8 * DAY}, False),
        (f".core_x.{RANDOM}.parts", {"age": 8 * DAY}, False),
    ],
)
def test_certainty_or_age_decides(tmp_path, name, options, swept):
    """Without a lock that this kernel would see, a week without a change."""
    made = imitate(tmp_path, name, **options)

    report = dump(tmp_path)

    assert made.exists() != swept
    assert [removal.path for removal in report.removed] == [made] * swept


def test_links_and_files_that_are_named_like_leftovers_stay(tmp_path):
    """And what the links lead to."""
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir()
    imitate(tmp_path, "elsewhere")
    (place / here("link")).symlink_to(elsewhere)
    (place / here("file")).write_bytes(b"mine")
    os.mkfifo(place / here("pipe"))
    before = hidden(place)

    assert dump(place).removed == ()
    assert hidden(place) == before
    assert os.listdir(elsewhere) == ["core"]


def test_a_link_in_a_leftover_is_not_followed(tmp_path):
    """A collector may have made it."""
    made = imitate(tmp_path, here())
    outside = imitate(tmp_path, "outside")
    (made / "link").symlink_to(outside)

    assert len(dump(tmp_path).removed) == 1
    assert not made.exists()
    assert os.listdir(outside) == ["core"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_leftovers_of_other_users_stay(tmp_path):
    """Their dumps sweep them."""
    made = imitate(tmp_path, here())
    os.chown(made, 65534, 65534)

    assert dump(tmp_path).removed == ()
    assert made.exists()


def test_what_cannot_be_removed_is_a_warning(tmp_path):
    """And no failed dump; something else may be mounted there."""
    made = imitate(tmp_path, here())
    mount = ["mount", "-t", "tmpfs", "tmpfs", made / "busy"]
    (made / "busy").mkdir()
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs")
    try:
        report = dump(tmp_path)
    finally:
        subprocess.run(["umount", made / "busy"], check=True)

    assert report.result == "complete"
    assert report.removed == ()
    (warning,) = report.warnings
    assert warning.startswith(f"not removed {made} (")
    assert "busy" in warning


def test_where_nothing_can_be_locked_age_alone_decides(tmp_path, monkeypatch):
    """A lock that could not be had does not look like the lock of a dead maker."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as changed:
        changed.setattr(fcntl, "flock", refuse)
        output = Output(tmp_path, "dump").prepare()

    with output:
        assert dump(tmp_path).removed == ()
        assert output.path.is_dir()
    assert hidden(tmp_path) == []


def test_makers_and_sweepers_at_once_do_no_harm(tmp_path):
    """A directory that was swept before it was locked is made again."""
    ended = threading.Event()
    swept = []

    def sweep():
        with Output(tmp_path, "sweeper") as output:
            while not ended.is_set():
                swept.extend(output.sweep())

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(300):
            with Output(tmp_path, f"dump{number}") as output:
                output.create("core").close()
                assert output.names == ["core"]
    finally:
        ended.set()
        sweeper.join()

    assert hidden(tmp_path) == []
    assert all(removal.error is None for removal in swept)


def test_a_forked_child_does_not_keep_the_leftovers_of_its_parent(tmp_path, python):
    """Its copy of the lock is closed: workers outlive the parent that dumped itself."""
    pid, name = python(
        """
import json, os, signal, sys
import gencore
from gencore.testing import SimulatedBackend

class Forks(gencore.Collector):
    name, api_version = "forks", (1, 1)

    def finish(self, dump):
        (name,) = [n for n in os.listdir(sys.argv[1]) if n.endswith(".part")]
        ready, said = os.pipe()
        if not (child := os.fork()):
            os.write(said, b"x")
            os.close(1), os.close(2)
            signal.pause()
        os.read(ready, 1)
        os.write(1, json.dumps([child, name]).encode())
        os._exit(0)

gencore.Pipeline(backend=SimulatedBackend(), collectors=[Forks], directory=sys.argv[1]).run()
""",
        tmp_path,
    )
    try:
        assert [r.path.name for r in dump(tmp_path).removed] == [name]
    finally:
        os.kill(pid, 9)


def test_a_directory_of_our_own_is_swept_too(tmp_path):
    """Inside one in which others may rename files."""
    tmp_path.chmod(0o777)
    own = tmp_path / f"gencore-{os.geteuid()}"
    own.mkdir(mode=0o700)
    made = imitate(own, here())

    assert [removal.path for removal in dump(tmp_path).removed] == [made]
    assert own.is_dir()
