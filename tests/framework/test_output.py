"""The private directory and publication."""

import contextlib
import errno
import hashlib
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from gencore import Artifact, OutputError, Refused, _final_directory
from gencore import output as output_module
from gencore._hash_beside import HashBeside
from gencore._private_directory import leftovers
from gencore._runtime import os_thread, regular_file
from gencore.output import Output


def write(output, name, data=b"data"):
    with output.create(name) as file:
        file.write(data)
    return file.artifact()


def test_a_file_has_its_final_name_only_when_published(tmp_path):
    """Until then it is in a hidden directory of mode 0700."""
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "core")
        assert output.path.stat().st_mode & 0o777 == 0o700
        assert not (tmp_path / "dump.core").exists()

        path = output.publish(artifact)

        assert path.read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["dump.core"]


def test_publishing_never_replaces_a_file(tmp_path):
    """One that stands there under the same name stays, and the error says so."""
    (tmp_path / "dump.core").write_text("mine")
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "core")
        with pytest.raises(OutputError, match="already exists"):
            output.publish(artifact)

    assert (tmp_path / "dump.core").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
def test_file_systems_without_hard_links_get_the_same_promise(tmp_path, monkeypatch, there):
    """The fallback publishes, and does not replace either."""

    def no_hard_links(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_hard_links)
    if there:
        (tmp_path / "dump.core").write_text("mine")
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "core")
        if there:
            with pytest.raises(OutputError):
                output.publish(artifact)
        else:
            output.publish(artifact)

    assert (tmp_path / "dump.core").read_bytes() == (b"mine" if there else b"data")


def test_an_artifact_is_measured_and_hashed_as_it_is_written(tmp_path):
    """Size and SHA-256 are those of the bytes."""
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "x", b"abc")

    assert artifact.size == 3
    assert artifact.sha256.startswith("ba7816bf")


def test_what_is_hashed_beside_its_writing_may_change_afterwards(tmp_path):
    """As soon as `write` has returned, or raised. The thread for it ends with the file."""
    piece = bytearray(3 << 20)
    with Output(tmp_path, "dump") as output:
        writer = output.create("core")
        writer.hash_beside()
        for number in range(20):
            piece[:] = bytes([number]) * len(piece)
            writer.write(piece)
        writer.close()
        data = (output.path / "core").read_bytes()

    assert writer.sha256 == hashlib.sha256(data).hexdigest()
    assert len(data) == 20 * len(piece)
    os_thread.wait_for_all(5)
    assert not os_thread._alive


def test_what_can_change_is_hashed_before_it_may():
    """However quickly it was written."""
    piece, digest, expected = bytearray(3 << 20), hashlib.sha256(), hashlib.sha256()
    beside = HashBeside(digest)
    for number in range(20):
        piece[:] = bytes([number]) * len(piece)
        expected.update(piece)
        with beside.hashing(memoryview(piece)):
            pass
    beside.close()

    assert digest.digest() == expected.digest()


def test_what_was_put_into_its_room_is_hashed_whole(tmp_path):
    """In order, while the next piece is put into other room, and beside what is put elsewhere."""
    with Output(tmp_path, "dump") as output:
        writer = output.create("core")
        writer.hash_beside()
        for number in range(60):
            room = writer.room()
            room[:] = bytes([number]) * len(room)
            writer.write(room[: len(room) - number % 3])
            if number % 7 == 0:
                writer.write(b"abc")
        digest = writer.sha256
        writer.close()
        data = (output.path / "core").read_bytes()

    assert digest == writer.sha256 == hashlib.sha256(data).hexdigest()
    assert len(data) > 59 << 20


def test_small_and_unchangeable_pieces_are_hashed_in_order(tmp_path):
    """Each on the thread that is the quicker one for it."""
    pieces = [os.urandom(size) for _ in range(30) for size in (1, 3 << 20, 512, 1 << 16)]
    with Output(tmp_path, "dump") as output, output.create("core") as writer:
        writer.hash_beside()
        for piece in pieces:
            writer.write(piece)
        digest = writer.sha256

    assert digest == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_nothing_is_put_anywhere_if_it_is_hashed_after_it_was_written(tmp_path):
    """There is room for two pieces only in a file that asks for a thread."""
    with Output(tmp_path, "dump") as output, output.create("x") as writer:
        assert writer.room() is None


def test_a_file_is_hashed_all_the_same_where_no_thread_can_be_started(tmp_path, monkeypatch):
    """By the thread that writes it."""

    def refuse(*_):
        raise os_thread.NoThread("no memory for a thread")

    monkeypatch.setattr("gencore._runtime.other_thread.OsThread", refuse)
    with Output(tmp_path, "dump") as output, output.create("core") as writer:
        writer.hash_beside()
        writer.write(b"abc")

    assert writer.sha256.startswith("ba7816bf")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_lets_go_of_a_file_without_ending_it(tmp_path):
    """The parent may be writing behind the zeros that the child takes for the end."""
    with Output(tmp_path, "dump") as output:
        writer = output.create("core")
        writer.leave_holes()
        writer.write(b"a" * (64 << 10) + bytes(64 << 10))
        child = os.fork()
        if child == 0:
            output.close()
            os._exit(0)
        os.waitpid(child, 0)

        assert (output.path / "core").stat().st_size == 64 << 10
        assert writer.artifact().size == (output.path / "core").stat().st_size


def test_leaving_removes_subdirectories_too(tmp_path):
    """Whatever a backend left in the private directory goes."""
    with Output(tmp_path, "dump") as output:
        (output.path / "a" / "b").mkdir(parents=True)
        (output.path / "a" / "b" / "core").touch()

    assert os.listdir(tmp_path) == []


def test_a_file_is_synced_before_it_gets_its_name_and_the_directory_after(tmp_path, monkeypatch):
    """After a crash of the machine, a file under a final name is whole."""
    steps = []
    link, fsync = os.link, os.fsync

    def noted_link(*args, **options):
        steps.append("link")
        link(*args, **options)

    def noted_fsync(fd):
        steps.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    with Output(tmp_path, "dump") as output:
        output.publish(write(output, "core"))

    assert steps == ["file", "link", "directory"]


def test_a_file_that_others_could_read_is_published_for_its_owner_alone(tmp_path):
    """Whatever mode a backend's tool gave it, it has 0600 under its final name."""
    with Output(tmp_path, "dump") as output:
        (output.path / "core").write_bytes(b"data")
        (output.path / "core").chmod(0o644)

        path = output.publish(Artifact(name="core", size=4))

    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_symbolic_link_in_the_private_directory_is_not_published(tmp_path):
    """What it leads to is neither read nor changed."""
    (tmp_path / "other").touch(mode=0o644)
    (tmp_path / "other").chmod(0o644)
    with Output(tmp_path, "dump") as output:
        (output.path / "core").symlink_to(tmp_path / "other")

        with pytest.raises(OutputError, match="ELOOP"):
            output.publish(Artifact(name="core", size=0))

    assert os.listdir(tmp_path) == ["other"]
    assert (tmp_path / "other").stat().st_mode & 0o7777 == 0o644


def test_dumps_of_one_name_do_not_meet_before_publication(tmp_path):
    """Containers that share a directory can have the same second, process id and number."""
    with Output(tmp_path, "dump") as one, Output(tmp_path, "dump") as two:
        write(one, "core", b"one")
        write(two, "core", b"two")

        assert (one.path / "core").read_bytes() == b"one"
        assert (two.path / "core").read_bytes() == b"two"


def test_a_directory_that_cannot_be_removed_costs_no_descriptor(tmp_path, monkeypatch):
    """Somebody may be making files in it."""

    def fail(*_, **__):
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    before = len(os.listdir("/proc/self/fd"))
    output = Output(tmp_path, "dump").prepare()
    monkeypatch.setattr(os, "rmdir", fail)
    with pytest.raises(OSError, match="not empty"):
        output.close()

    assert len(os.listdir("/proc/self/fd")) == before


CALLS = {
    **{name: [os] for name in ("fstat", "fstatvfs", "mkdir", "link", "fsync")},
    "open_descriptor": [_final_directory, regular_file, output_module],
}


@pytest.mark.parametrize("name", CALLS)
def test_whatever_call_fails_nothing_stays_open_or_half_made(tmp_path, monkeypatch, name):
    """With an error that network file systems have for any call."""
    failed = []

    def fail(*_, **__):
        failed.append(name)
        raise OSError(errno.EIO, "Input/output error")

    before = set(os.listdir("/proc/self/fd"))
    tmp_path.chmod(0o777)
    output = Output(tmp_path, "dump")
    with contextlib.suppress(OSError), monkeypatch.context() as changed:
        for module in CALLS[name]:
            changed.setattr(module, name, fail)
        _ = output.prepare().free
        output.publish(write(output, "core"))
    output.close()

    assert failed
    assert set(os.listdir("/proc/self/fd")) == before
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] in ([], ["dump.core"])
    assert list(tmp_path.rglob(".*")) == []


def test_a_file_that_a_collector_left_open_is_closed_with_the_output(tmp_path):
    """A report that is kept would keep it open by its error's traceback."""
    with Output(tmp_path, "dump") as output:
        file = output.create("core")

    assert file.closed


def test_what_is_no_regular_file_is_not_published_and_does_not_block(tmp_path):
    """A collector may have made a FIFO."""
    before = len(os.listdir("/proc/self/fd"))
    with Output(tmp_path, "dump") as output:
        os.mkfifo(output.path / "pipe")
        (output.path / "folder").mkdir()
        for name in ("pipe", "folder"):
            with pytest.raises(OutputError):
                output.publish(Artifact(name=name, size=0))

    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL, errno.EXDEV, errno.ENOSYS])
def test_a_link_that_is_refused_for_whatever_reason_has_another_way(tmp_path, monkeypatch, code):
    """Overlays, bind mounts and security modules have errors of their own."""
    monkeypatch.setattr(os, "link", _refused(code))
    with Output(tmp_path, "dump") as output:
        output.publish(write(output, "core"))

    assert (tmp_path / "dump.core").read_bytes() == b"data"


@pytest.mark.parametrize("there", [False, True])
def test_a_finished_file_that_gets_no_name_is_kept(tmp_path, monkeypatch, there):
    """And nothing beside it; the error says where it is, and the remedy can be pasted."""
    if there:
        (tmp_path / "dump.core").write_text("mine")
    else:
        monkeypatch.setattr(os, "link", _refused(errno.EPERM))
        monkeypatch.setattr(os, "rename", _refused(errno.EIO))
    with Output(tmp_path, "dump") as output:
        write(output, "rest")
        with pytest.raises(OutputError) as caught:
            output.publish(write(output, "core"))
        kept = output.path
    monkeypatch.undo()

    assert f"the finished file is kept: {kept}/core" in caught.value.message
    assert os.listdir(kept) == ["core"]
    assert set(os.listdir(tmp_path)) == {kept.name} | ({"dump.core"} if there else set())
    subprocess.run(caught.value.remedy, shell=True, check=True)
    assert (tmp_path / "kept.dump.core").read_bytes() == b"data"


def test_no_sweep_removes_a_finished_file_that_was_kept(tmp_path):
    """Nobody else knows of it; it is listed as what it is."""
    (tmp_path / "dump.core").write_text("mine")
    with Output(tmp_path, "dump") as output, pytest.raises(OutputError):
        output.publish(write(output, "core"))
    with Output(tmp_path, "next") as output:
        assert output.sweep() == []
    folder = os.open(tmp_path, os.O_RDONLY)
    (found,) = leftovers(folder)
    os.close(folder)

    assert found.state == "kept"
    assert (tmp_path / found.name / "core").read_bytes() == b"data"


REPLACEMENTS = {
    "nothing": lambda _: None,
    "a link": lambda path: path.symlink_to("/tmp"),
    "a file": lambda path: path.touch(),
    "a closed directory": lambda path: _belonging_to_another(path, 0o700),
    "an open directory": lambda path: _belonging_to_another(path, 0o777),
    "a full directory of ours": lambda path: (path.mkdir(mode=0o700), (path / "core").touch()),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to play another user")
@pytest.mark.parametrize("put", REPLACEMENTS.values(), ids=REPLACEMENTS)
@pytest.mark.parametrize("when", ["made", "used", "removed"])
def test_whoever_renames_and_replaces_the_private_directory_stops_nothing(
    tmp_path, monkeypatch, put, when
):
    """A member of the group to which the directory is open may do so, at whatever moment."""
    replaced = []

    def replace(path):
        replaced.append(path)
        path.rename(tmp_path / f"taken{len(replaced)}")
        put(path)

    output = Output(tmp_path, "dump")
    _call_once_around(monkeypatch, {"made": "mkdir", "removed": "rmdir"}.get(when), replace)
    output.prepare()
    if when == "used":
        replace(output.path)
    path = output.publish(write(output, "core"))
    output.close()

    assert len(replaced) == 1
    assert path.read_bytes() == b"data"
    assert output.warnings == []
    assert not any(list(taken.iterdir()) for taken in tmp_path.glob("taken*"))
    assert list(replaced[0].glob("dump*")) == []


def _belonging_to_another(path, mode):
    path.mkdir()
    path.chmod(mode)
    os.chown(path, 65534, 65534)


def _call_once_around(monkeypatch, name, replace):
    """Let *replace* run once, behind os.mkdir or before os.rmdir of a private directory."""
    if name is None:
        return
    real = getattr(os, name)

    def changed(path, *arguments, dir_fd=None, **options):
        monkeypatch.undo()
        whole = Path(f"/proc/self/fd/{dir_fd}").readlink() / path
        if name == "rmdir":
            replace(whole)
        real(path, *arguments, dir_fd=dir_fd, **options)
        if name == "mkdir":
            replace(whole)

    monkeypatch.setattr(os, name, changed)


def test_who_takes_away_every_private_directory_is_named(tmp_path, monkeypatch):
    """Nothing can be written there, and the dump is refused instead of tried for ever."""
    made = os.mkdir

    def take(name, *arguments, dir_fd, **options):
        made(name, *arguments, dir_fd=dir_fd, **options)
        os.rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", take)
    with Output(tmp_path, "dump") as output, pytest.raises(Refused, match="another user"):
        output.prepare()

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
@pytest.mark.parametrize("name", ["fsync", "fchmod", "posix_fadvise", "fstatvfs"])
def test_a_call_that_only_helps_may_be_refused(tmp_path, monkeypatch, name, code):
    """By a filter of system calls or a file system; a warning says what is not so for that."""
    monkeypatch.setattr(os, name, _refused(code))
    with Output(tmp_path, "dump") as output:
        with output.create("core") as file:
            for _ in range(9):
                file.write(bytes(1 << 20))
        (output.path / "core").chmod(0o644)

        path = output.publish(file.artifact())

        assert path.stat().st_size == 9 << 20
        assert (output.free is None) == (name == "fstatvfs")
    words = {"fsync": "not synced to disk", "fchmod": "readable by others"}.get(name)
    assert all(words in warning for warning in output.warnings)
    assert len(output.warnings) == (words is not None)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_bytes_that_are_lost_are_an_error(tmp_path, monkeypatch, code):
    """A sync that fails so is no advice."""
    monkeypatch.setattr(os, "fsync", _refused(code))
    with Output(tmp_path, "dump") as output, pytest.raises(OutputError) as caught:
        output.publish(write(output, "core"))

    assert caught.value.errno == code
    assert os.listdir(tmp_path) == []


def _refused(code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_private_directory_that_was_renamed_is_removed_all_the_same(tmp_path):
    """Whoever may write beside it may rename it; it is found by what it is."""
    with Output(tmp_path, "dump") as output:
        output.path.rename(tmp_path / "moved")
        with output.create("core") as file:
            file.write(b"data")
        output.publish(file.artifact())
        with output.create("rest") as file:
            file.write(b"data")

    assert os.listdir(tmp_path) == ["dump.core"]


def test_threads_that_list_the_private_directory_at_once_see_each_file_once(tmp_path):
    """Whoever asks for the progress lists it while the dump's own thread does."""
    rounds, wrong = 4_000, []

    def look(output):
        wrong.extend(names for _ in range(rounds) if (names := output.names) != ["core"])

    with Output(tmp_path, "dump") as output:
        os.close(output.new_file("core"))
        lookers = [threading.Thread(target=look, args=(output,)) for _ in range(2)]
        for looker in lookers:
            looker.start()
        for looker in lookers:
            looker.join()

    assert not wrong
