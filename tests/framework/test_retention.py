"""Which dumps a directory keeps."""

import logging
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

import gencore
from gencore import DestinationSpec
from gencore._final_directory import FinalDirectory
from gencore.naming import dump_id, dump_name, pattern_of
from gencore.retention import Retention
from gencore.testing import SimulatedBackend

DAY = 86400
MIB = 1 << 20


class Reverse(gencore.Filter):
    """Changes every byte, so that nothing is known by its contents."""

    name, api_version, suffix = "reverse", (1, 1), ".rev"

    def open(self, writer):
        return writer


class Large(SimulatedBackend):
    """Makes a core of 8 MiB."""

    def __init__(self):
        super().__init__(b"x" * 8 * MIB, chunk_size=MIB)

    def probe(self, _):
        return gencore.Verdict.yes(core_size=8 * MIB)


class Notes(gencore.Collector):
    """Makes a file whose contents nobody knows."""

    name, api_version = "notes", (1, 1)

    def finish(self, dump):
        with dump.create("notes.txt") as file:
            file.write(b"notes")


def pipeline(directory, *collectors, backend=None, **options):
    """Return a pipeline with a destination of these options."""
    others = {name: options.pop(name) for name in ("name", "filters") if name in options}
    return gencore.Pipeline(
        backend=backend or SimulatedBackend(),
        collectors=collectors or ["archive"],
        directory=directory,
        destination=DestinationSpec("directory", options=options),
        **others,
    )


def aged(directory, name, *, days):
    """Make a bundle that looks as if it had been made then, and return its file."""
    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["archive"], directory=directory, name=name
    ).run()
    return older(report.path_of("archive"), days)


def older(path, days):
    os.utime(path, times=(time.time() - days * DAY,) * 2)
    return path


@pytest.fixture
def five(tmp_path):
    """Make five bundles, of one to five days, and return their files, oldest first."""
    stamps = [f"core_2026010{day}.000000.1.001" for day in range(1, 6)]
    made = zip(stamps, range(5, 0, -1), strict=True)
    return [aged(tmp_path, name, days=days) for name, days in made]


def names(paths):
    return [path.name for path in paths]


def test_the_newest_dumps_are_kept(tmp_path, five):
    """The new one is one of them, and the report lists what was removed, oldest first."""
    sizes = [path.stat().st_blocks * 512 for path in five]

    report = pipeline(tmp_path, keep_count=3).run()

    kept = sorted(os.listdir(tmp_path))
    assert kept == [*names(five[3:]), f"{report.name}.tar.gz"]
    assert [removal.path for removal in report.removed] == five[:3]
    assert [removal.size for removal in report.removed] == sizes[:3]
    assert {removal.reason for removal in report.removed} == {"keep_count=3"}
    assert report.as_dict()["removed"][0] == {
        "path": str(five[0]),
        "size": sizes[0],
        "reason": "keep_count=3",
        "error": None,
    }


@pytest.mark.usefixtures("five")
def test_bundles_of_each_codec_count(tmp_path, write_bundle):
    """One with zstd is a dump like the others; one that only has its name is not touched."""
    old, named = (tmp_path / f"core_20250101.000000.{pid}.001.tar.zst" for pid in (7, 8))
    write_bundle(old, {"core": b""}, old.name.partition(".tar")[0])
    write_bundle(named.with_suffix(".gz"), {"core": b""}, named.name.partition(".tar")[0])
    named.with_suffix(".gz").rename(named)
    for path in (old, named):
        os.utime(path, (0, 0))

    report = pipeline(tmp_path, keep_count=6).run()

    assert [removal.path for removal in report.removed] == [old]


@pytest.mark.usefixtures("five")
def test_the_last_one_stays_whatever_the_limit(tmp_path):
    """Even one that is larger than all that may be kept."""
    report = pipeline(tmp_path, keep_bytes=1).run()

    assert os.listdir(tmp_path) == [f"{report.name}.tar.gz"]
    assert len(report.removed) == 5


def test_what_all_take_up_is_limited(tmp_path, five):
    """Bytes on the disk, of as many as fit."""
    one = five[0].stat().st_blocks * 512

    report = pipeline(tmp_path, keep_bytes=4 * one).run()

    assert names(removal.path for removal in report.removed) == names(five[:2])
    assert len(os.listdir(tmp_path)) == 4


def test_old_dumps_are_removed(tmp_path, five):
    """By the time at which their files were written."""
    report = pipeline(tmp_path, keep_age="60h").run()

    assert names(removal.path for removal in report.removed) == names(five[:3])
    assert {removal.reason for removal in report.removed} == {"keep_age=216000"}


def test_room_is_made_before_a_dump_but_the_newest_stays(tmp_path, five):
    """It may be the last: whether the dump succeeds is not known yet."""
    before = []

    class Looks(Notes):
        def observe(self, _):
            before.extend(name for name in os.listdir(tmp_path) if name[0] != ".")

    report = pipeline(tmp_path, Looks, keep_free="1000 TiB").run()

    assert before == [five[-1].name]
    assert names(removal.path for removal in report.removed) == names(five)
    assert os.listdir(tmp_path) == [f"{report.name}.notes.txt"]


def test_other_limits_are_applied_after_a_dump_alone(tmp_path, five):
    """One that fails costs none of the others."""

    class Fails(Notes):
        def finish(self, _):
            raise RuntimeError("no")

    report = pipeline(tmp_path, Fails, keep_count=1).run()

    assert report.result == "failed"
    assert sorted(os.listdir(tmp_path)) == names(five)


def test_a_full_disk_gets_room_for_the_next_dump(tmpfs):
    """A core of 8 MiB fits on a disk of 20 MiB as often as one likes."""
    disk = tmpfs("size=20m")
    results = []
    for _ in range(5):
        made = pipeline(disk, "raw", backend=Large(), keep_free="9 MiB").run()
        results.append(made.result)
        older(made.path_of("raw"), 10 - len(results))

    assert results == ["complete"] * 5
    assert len(os.listdir(disk)) == 1


def test_the_space_is_checked_as_without_a_destination(tmpfs):
    """After room was made: what others have written there is not ours to remove."""
    disk = tmpfs("size=20m")
    (disk / "theirs").write_bytes(bytes(15 * MIB))

    with pytest.raises(gencore.OutputError, match="may need"):
        pipeline(disk, "raw", backend=Large(), keep_free="1 MiB").run()

    assert os.listdir(disk) == ["theirs"]


def test_all_files_of_a_dump_go_together(tmp_path):
    """What collectors made beside the core too."""
    first = pipeline(tmp_path, "raw", "manifest", Notes).run()
    assert len(os.listdir(tmp_path)) == 3

    second = pipeline(tmp_path, "raw", "manifest", Notes, keep_count=1).run()

    assert len(second.removed) == 3
    assert all(removal.path.name.startswith(first.name) for removal in second.removed)
    assert all(name.startswith(second.name) for name in os.listdir(tmp_path))


def test_what_has_passed_a_filter_is_known_by_its_name(tmp_path):
    """Nobody can look into what is encrypted."""
    for _ in range(3):
        report = pipeline(tmp_path, filters=[Reverse], keep_count=2).run()

    assert [removal.path.suffix for removal in report.removed] == [".rev"]
    assert len(os.listdir(tmp_path)) == 2


def bundle_of_another_name(path, directory):
    path.rename(directory / "core_20250101.000000.7.001.tar.gz")


def hard_link(path, directory):
    os.link(path, directory / "mine.tar.gz")


def symbolic_link(path, directory):
    path.rename(directory / "mine.tar.gz")
    path.symlink_to(directory / "mine.tar.gz")


def folder(path, _):
    path.unlink()
    path.mkdir()


def other_contents(path, _):
    path.write_bytes(b"\x1f\x8b" + bytes(100))


def pipe(path, _):
    path.unlink()
    os.mkfifo(path)


def of_somebody_else(path, _):
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(path, 65534, 65534)


def a_companion_that_is_not_ours(path, directory):
    (directory / path.name.replace("tar.gz", "core")).write_text("no core")


def notes_beside_it(path, directory):
    notes = directory / path.name.replace("tar.gz", "stacks.txt")
    notes.write_text("what was found out")
    notes.chmod(0o644)


def a_log_of_that_name(path, directory):
    """Private, as everything that a service with a strict umask writes."""
    log = path.rename(directory / path.name.replace("tar.gz", "log"))
    log.write_text("a log")
    log.chmod(0o600)


def manifest_of_another_name(path, directory):
    other = path.rename(directory / path.name.replace("tar.gz", "manifest.json"))
    other.write_text('{"name": "somebody"}')


def something_behind_a_filter_that_others_may_read(path, directory):
    path.rename(directory / f"{path.name}.sha256").chmod(0o644)


@pytest.mark.parametrize(
    "change",
    [
        bundle_of_another_name,
        hard_link,
        symbolic_link,
        folder,
        other_contents,
        pipe,
        of_somebody_else,
        a_companion_that_is_not_ours,
        notes_beside_it,
        a_log_of_that_name,
        manifest_of_another_name,
        something_behind_a_filter_that_others_may_read,
    ],
)
def test_what_is_not_certainly_a_dump_is_not_touched(tmp_path, change):
    """It is not counted either."""
    old = aged(tmp_path, "core_20260101.000000.1.001", days=9)
    change(old, tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, times=(0, 0), follow_symlinks=False)
    before = set(os.listdir(tmp_path))

    reports = [pipeline(tmp_path, keep_count=1, keep_age="1d").run() for _ in range(2)]

    assert set(os.listdir(tmp_path)) == before | {f"{reports[1].name}.tar.gz"}
    assert names(removal.path for removal in reports[1].removed) == [f"{reports[0].name}.tar.gz"]


@pytest.mark.parametrize(
    "replace",
    [
        lambda path: (path.parent / "other").replace(path),
        lambda path: path.write_text("written anew"),
        lambda path: os.link(path, path.parent / "kept"),
    ],
    ids=["another file", "other contents", "a second link"],
)
def test_what_has_become_another_file_since_it_was_looked_at_stays(tmp_path, five, replace):
    """Reading what is in thousands of bundles takes time."""
    (tmp_path / "other").write_text("not a dump")
    names = pattern_of("core_{time}.{pid}.{seq}")
    removals = Retention(keep_count=1).apply(tmp_path, names)
    assert next(removals).path == five[0]

    replace(five[1])

    assert [removal.path for removal in removals] == five[2:4]
    assert five[1].exists()


def test_each_of_thousands_of_dumps_costs_no_look_at_all_of_them(tmp_path, monkeypatch):
    """The directory is listed a number of times that does not depend on what is in it."""
    for number in range(100):
        (tmp_path / f"core_20260101.{number:06}.1.001.core").write_bytes(b"\x7fELF")
    listed = []
    names_in = FinalDirectory.names.fget
    counting = property(lambda place: listed.append(place) or names_in(place))
    monkeypatch.setattr(FinalDirectory, "names", counting)

    names = pattern_of("core_{time}.{pid}.{seq}")
    assert len(list(Retention(keep_count=1).apply(tmp_path, names))) == 99

    assert len(listed) == 2


@pytest.mark.parametrize(
    "name",
    ["notes.tar.gz", "core", "core_20260101.tar.gz", "core_20260101.000000.1.001", "core.1234"],
)
def test_other_names_are_not_touched(tmp_path, name):
    """Whatever their files contain."""
    aged(tmp_path, "core_20260101.000000.1.001", days=9).rename(tmp_path / name)

    pipeline(tmp_path, keep_count=1, keep_age="1d").run()

    assert name in os.listdir(tmp_path)


def test_dumps_of_other_names_have_limits_of_their_own(tmp_path):
    """Two services may share a directory."""
    for _ in range(2):
        for service in ("orders", "invoices"):
            pipeline(tmp_path, name=service + "-{id}", keep_count=1).run()

    left = sorted(name.partition("-")[0] for name in os.listdir(tmp_path))
    assert left == ["invoices", "orders"]


def test_names_that_anything_could_have_are_refused_with_a_limit(tmp_path):
    """Before the pause; without a limit they are not."""
    with pytest.raises(gencore.Refused, match=r"put \{time\} or \{id\} into the name"):
        pipeline(tmp_path, name="dump-{seq}", keep_count=1).run()

    assert os.listdir(tmp_path) == []
    assert pipeline(tmp_path, name="dump-{seq}").run().result == "complete"


@pytest.mark.parametrize(
    "template", ["core_{time}.{pid}.{seq}", "{exe}-{host}-{pod}-{id}", "{id}"]
)
def test_the_pattern_of_a_template_matches_its_names(template):
    """And no others: the last character counts."""
    now = datetime.now(UTC)
    name = dump_name(template, now, dump_id(now))

    assert pattern_of(template).fullmatch(name)
    assert not pattern_of(template).fullmatch(name[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_bytes": "5 apples"}, "invalid size: '5 apples' (expected a number and one of B"),
        ({"keep_free": "-1 GiB"}, "invalid size: '-1 GiB'"),
        ({"keep_age": "7 GiB"}, "invalid duration: '7 GiB'"),
        ({"keep_age": 0}, "out of range"),
        ({"keep_bytes": "0"}, "out of range"),
    ],
)
def test_a_limit_that_means_nothing_refuses_the_dump(tmp_path, options, message):
    """`Pipeline.check` too, which ``gencore doctor`` calls."""
    wrong = pipeline(tmp_path, **options)
    for call in (wrong.check, wrong.run):
        with pytest.raises(gencore.Refused, match=re.escape(message)):
            call()


@pytest.mark.parametrize("options", [{"keep_count": 0}, {"keep_count": "5"}, {"keep_age": []}])
def test_an_option_of_a_wrong_type_is_known_when_the_pipeline_is_built(tmp_path, options):
    """As for all plug-ins."""
    with pytest.raises(gencore.UsageError, match=r"destination 'directory': option keep_"):
        pipeline(tmp_path, **options)


def test_the_limits_may_stand_in_a_file(tmp_path, five, monkeypatch):
    """With the directory, or without."""
    config = tmp_path / "gencore.toml"
    config.write_text(
        f'directory = "{tmp_path}"\n[destination]\nuse = "directory"\noptions.keep_age = "3d"\n'
    )
    monkeypatch.setenv("GENCORE_CONFIG", str(config))
    report = gencore.Pipeline(backend=SimulatedBackend(), collectors=["archive"]).run()

    assert names(removal.path for removal in report.removed) == names(five[:3])


def test_each_removal_is_a_record_of_the_log(tmp_path, five, caplog):
    """With its facts as attributes."""
    caplog.set_level(logging.INFO, "gencore")

    report = pipeline(tmp_path, keep_count=5).run()

    (record,) = [r for r in caplog.records if r.gencore_event == "removal"]
    assert record.levelname == "INFO"
    assert record.gencore_dump == report.name
    assert record.gencore_path == str(five[0])
    assert record.gencore_reason == "keep_count=5"
    assert record.getMessage().startswith(f"dump {report.name}: removed {five[0]} (")


def test_what_cannot_be_removed_is_a_warning(tmp_path, five, caplog):
    """And no failed dump. The next one is not removed in its place."""
    if subprocess.run(["chattr", "+i", five[0]], capture_output=True, check=False).returncode:
        pytest.skip("the file system has no immutable files")
    try:
        report = pipeline(tmp_path, keep_count=5).run()
    finally:
        subprocess.run(["chattr", "-i", five[0]], check=True)

    assert report.result == "complete"
    assert report.removed == ()
    assert report.warnings[0].startswith(f"not removed {five[0]} (")
    assert [r.levelname for r in caplog.records if r.gencore_event == "removal"] == ["WARNING"]
    assert five[1].exists()


SHARES = """
import sys
import gencore
from gencore import DestinationSpec
from gencore.testing import SimulatedBackend

pipeline = gencore.Pipeline(
    backend=SimulatedBackend(),
    collectors=["raw", "manifest"],
    directory=sys.argv[1],
    destination=DestinationSpec("directory", options={"keep_count": 1}),
)
sys.stdin.readline()
for _ in range(10):
    report = pipeline.run()
    assert report.result == "complete" and not report.warnings, report
"""


def test_dumps_at_the_same_time_remove_none_that_is_in_progress(tmp_path):
    """Each is published whole, and at the end little more is left than is to be kept."""
    command = [sys.executable, "-c", SHARES, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.communicate()

    assert [process.returncode for process in running] == [0, 0]
    left = sorted(os.listdir(tmp_path))
    whole = {name.removesuffix(".core") for name in left if name.endswith(".core")}
    assert len(whole) in {1, 2}
    assert left == sorted(f"{name}.{kind}" for name in whole for kind in ("core", "manifest.json"))


def test_a_dump_in_progress_is_not_removed(tmp_path):
    """Although it has published its first artefact, and another one is newer."""
    inner = []

    class Second(gencore.Collector):
        name, api_version = "second", (1, 1)

        def finish(self, dump):
            with dump.create("second") as file:
                file.write(b"second")
            older(published(tmp_path, dump.name), 3)
            inner.append(pipeline(tmp_path, keep_count=1).run())

    outer = pipeline(tmp_path, Second).run()

    assert inner[0].removed == ()
    assert {name.removesuffix(".tar.gz") for name in os.listdir(tmp_path)} == {
        f"{outer.name}.second",
        f"{outer.name}.core",
        inner[0].name,
    }


def published(directory, name):
    """Publish an artefact for a dump that goes on."""
    path = directory / f"{name}.core"
    path.write_bytes(b"\x7fELF")
    return path
