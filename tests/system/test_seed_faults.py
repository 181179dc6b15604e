"""Faults of the npm package gencore, each of which must not happen here."""

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import threading

import pytest

import gencore


def test_vdso_and_other_mappings_without_a_file_do_no_harm(tmp_path):
    """The vDSO has no file; a bundle is made all the same."""
    bundle = gencore.collect_core(directory=tmp_path, content="stacks")

    with tarfile.open(bundle) as tar:
        assert not [name for name in tar.getnames() if "vdso" in name]


def test_deleted_library_is_a_row_in_the_report_and_not_the_end(python, tmp_path):
    """One that is gone from disk is read where it is mapped, or skipped; there is a bundle."""
    library = tmp_path / "libgone.so"
    source = subprocess.run(
        [sys.executable, "-c", "import _json; print(_json.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shutil.copy(source, library)
    code = """if True:
        import ctypes, gencore, json, os, sys
        ctypes.PyDLL(sys.argv[2])
        os.unlink(sys.argv[2])
        report = gencore.start(directory=sys.argv[1]).result()
        print(json.dumps([report.result, [s.part for s in report.skipped],
                          len(report.artifacts)]))
    """
    result, skipped, artifacts = python(code, tmp_path, library)

    assert (result, skipped) in (("complete", []), ("partial", [str(library)]))
    assert artifacts == 1


def test_long_names_work(tmp_path):
    """No name is cut to a fixed length."""
    directory = tmp_path / ("n" * 200) / ("m" * 200)
    directory.mkdir(parents=True)

    assert gencore.create_core(directory=directory).is_file()


def test_a_core_in_the_current_directory_is_not_overwritten(python, tmp_path):
    """A file called core beside the dump stays what it was."""
    (tmp_path / "core").write_text("mine")
    code = "import gencore, json; print(json.dumps(str(gencore.create_core(directory='.'))))"

    python(code, cwd=tmp_path)

    assert (tmp_path / "core").read_text() == "mine"


def test_a_collector_that_fails_does_not_cost_the_core(tmp_path):
    """The others' artefacts are published."""

    class Broken(gencore.Collector):
        name = "broken"
        api_version = (1, 0)

        def finish(self, _dump):
            raise OSError("nothing works")

    report = gencore.Pipeline(collectors=[Broken, "raw"], directory=tmp_path).run()

    assert report.result == "partial"
    assert [part.part for part in report.failed] == ["broken"]
    assert report.path_of("raw").is_file()


def test_a_failing_archive_leaves_the_manifest(tmp_path, monkeypatch):
    """Where the bundle cannot be written, what would have gone into it is published beside."""
    monkeypatch.setattr("gencore_collectors.archive.BundleWriter.close", _no_space)

    report = gencore.start(directory=tmp_path, content="stacks").result()

    assert report.result == "partial"
    assert os.listdir(tmp_path) == [f"{report.name}.manifest.json"]


def _no_space(_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("make", [gencore.create_core, gencore.collect_core])
def test_artefacts_belong_to_their_owner_alone(tmp_path, make):
    """Mode 0600, whatever the umask, and nothing beside them when the call returns."""
    mask = os.umask(0)
    try:
        path = make(directory=tmp_path)
    finally:
        os.umask(mask)

    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == [path.name]
    assert path.is_absolute()


def test_the_snapshot_holds_no_descriptor_of_the_application(tmp_path):
    """The child closes what it inherited, so that peers see the application's own closing."""
    ballast = bytearray(os.urandom(1 << 20) * 200)
    with (tmp_path / "of the application").open("w") as file:
        dump = gencore.start(collectors=["raw"], directory=tmp_path)
        looks = []
        while not dump.done():
            with open(f"/proc/self/task/{threading.get_native_id()}/children") as children:  # noqa: PTH123
                looks += [links(child) for child in children.read().split()]
        assert len(ballast) == 200 << 20
        assert any(look and file.name not in look for look in looks)


def links(pid):
    """Return where the descriptors of a process lead; nothing once it has ended."""
    with contextlib.suppress(OSError):
        return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    return set()


def test_a_dump_can_be_started_from_any_thread(tmp_path):
    """Not only from the main one."""
    cores = []
    thread = threading.Thread(target=lambda: cores.append(gencore.create_core(directory=tmp_path)))
    thread.start()
    thread.join()

    assert cores[0].is_file()


def test_a_process_that_ends_at_once_finishes_its_dump_first(python, tmp_path):
    """Whoever does not wait for the bundle gets it all the same."""
    code = """if True:
        import gencore, json, sys
        dump = gencore.start(directory=sys.argv[1])
        print(json.dumps([dump.name, len(dump.threads)]))
    """
    name, threads = python(code, tmp_path)

    assert os.listdir(tmp_path) == [f"{name}.tar.gz"]
    assert threads == 1
