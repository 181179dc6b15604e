"""The wheel on Pythons and a C library that this machine lacks: those of a Debian sid root.

newer_root.sh makes the root. Packages are installed by this machine's pip, so that the root needs
neither the network nor anything of this machine.
"""

import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gencore.corefile import CoreFile

PROGRAMS = Path(__file__).parent / "programs"
ROOT = os.environ.get("GENCORE_NEWER_ROOT")
PYTHONS = sorted(
    path.name for path in Path(ROOT or "/nowhere").glob("usr/bin/python3.[0-9]*[0-9]")
)
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux")
START = re.compile(r"\b(start_thread|_start|__libc_start_main\w*) \(")

pytestmark = pytest.mark.timeout(400)

EACH_BACKEND = pytest.mark.parametrize(
    "backend", ["linux-elf", pytest.param("linux-sigsegv", marks=pytest.mark.exhaustive)]
)


class NewerPython:
    """An interpreter of the root, with the wheel."""

    work = Path("/mnt")
    """Where the directory of a run is, in there."""

    def __init__(self, bwrap, name, packages):
        self.path = f"/usr/bin/{name}"
        self._bwrap, self._packages = bwrap, packages

    def start(self, program, *arguments, work, environment=None, **options):
        """Run a program of the root, with *work* as `work`."""
        binds = {"/mnt": work, "/opt": self._packages, "/srv": PROGRAMS}
        command = [self._bwrap, "--ro-bind", ROOT, "/", "--proc", "/proc", "--dev", "/dev"]
        command += ["--tmpfs", "/tmp", "--clearenv", "--setenv", "PYTHONPATH", "/opt"]
        command += ["--setenv", "XDG_CACHE_HOME", "/tmp", "--chdir", "/mnt"]
        for place, path in binds.items():
            command += ["--bind", path, place]
        for pair in (environment or {}).items():
            command += ["--setenv", *pair]
        return subprocess.run(
            [*command, "--", program, *arguments], capture_output=True, check=False, **options
        )

    def run(self, *arguments, work, environment=None):
        """Run the interpreter. Return what it prints."""
        done = self.start(self.path, *arguments, work=work, environment=environment, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dump(self, *arguments, work):
        """Run every_thread.py. Return (the core's bytes or path, what it told)."""
        backend, directory, *rest = arguments
        command = ["/srv/every_thread.py", backend, directory, "/mnt/blocking.so", *rest]
        done = self.start(self.path, *command, work=work)
        assert done.returncode == 0, done.stderr.decode()
        told = json.loads(done.stderr if directory == "-" else done.stdout)
        return (work / Path(told["core"]).name if directory != "-" else done.stdout), told


@pytest.fixture(
    scope="session",
    params=[
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in PYTHONS[:-1]),
        *(PYTHONS[-1:] or [None]),
    ],
)
def newer(request, make_once):
    """Install the wheel for each interpreter of the root."""
    if request.param is None:
        pytest.skip("GENCORE_NEWER_ROOT is not set to what tests/system/newer_root.sh prints")
    wheel = request.getfixturevalue("wheel")  # not built for a test that is skipped
    version = request.param.removeprefix("python")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
    command += ["--python-version", version, "--only-binary=:all:"]
    command += [f"--platform={name}_{platform.machine()}" for name in PLATFORMS]

    def install(packages):
        subprocess.run([*command, "--target", packages, f"{wheel}[analysis]"], check=True)

    packages = make_once(request.param, install)
    return NewerPython("bwrap", request.param, packages)


@pytest.fixture
def work(tmp_path, build_extension):
    """Build the extension of every_thread.py in a directory that is `NewerPython.work`."""
    build_extension(tmp_path)
    return tmp_path


def tids_of(told):
    return {*told["threads"].values(), told["main"]}


def stacks_of(shown, heading):
    """Split a reader's text at each thread: {tid: its lines}."""
    parts = re.split(heading, shown, flags=re.MULTILINE)
    return {int(tid): lines for tid, lines in zip(parts[1::2], parts[2::2], strict=True)}


def check_threads(core, told):
    assert core.why_incomplete() is None
    assert set(core.thread_ids) == tids_of(told)
    assert {thread.registers for thread in core.recorded_threads} <= {"exact", "partial"}


@EACH_BACKEND
def test_core_in_a_file_shows_every_thread_to_gdb_of_that_system(newer, backend, work):
    """Each has registers, and unwinds to its start."""
    path, told = newer.dump(backend, newer.work, work=work)
    with CoreFile(path) as core:
        check_threads(core, told)

    commands = ("-nx", "-batch", "-ex", "thread apply all bt")
    done = newer.start("gdb", *commands, newer.path, newer.work / path.name, work=work, text=True)

    stacks = stacks_of(done.stdout, r"^Thread \d+ \(.*LWP (\d+)\)\):$")
    assert set(stacks) == tids_of(told)
    for stack in stacks.values():
        assert START.search(stack), stack
        assert "corrupt stack" not in stack


@EACH_BACKEND
def test_core_in_a_pipe_is_whole(newer, backend, work):
    """It holds every thread, too."""
    data, told = newer.dump(backend, "-", work=work)

    with CoreFile(io.BytesIO(data)) as core:
        check_threads(core, told)


@EACH_BACKEND
def test_bundle_is_verified_and_shows_its_stacks(newer, backend, work, packer):
    """By the commands of the same Python, which has zstd without a package."""
    bundle, told = newer.dump(backend, newer.work, packer.name, work=work)
    command = ("-m", "gencore", "verify", "--json", newer.work / bundle.name)
    checks = json.loads(newer.run(*command, work=work))["checks"]
    shown = newer.run("-m", "gencore", "stacks", "--quiet", newer.work / bundle.name, work=work)

    assert [(check["ok"], check["problems"]) for check in checks] == [(True, [])] * 4
    stacks = stacks_of(shown, r"^Traceback for thread (\d+) ")
    assert set(stacks) == tids_of(told)
    for function, tid in told["threads"].items():
        assert f"in {function}" in stacks[tid]


def test_stacks_alone_are_enough_for_every_python_stack(newer, work):
    """Pystack finds the frames of every thread in what content="stacks" keeps."""
    path, told = newer.dump("linux-elf", newer.work, "stacks", work=work)
    command = ("-m", "pystack", "--no-color", "core", newer.work / path.name, newer.path)
    stacks = stacks_of(newer.run(*command, work=work), r"^Traceback for thread (\d+) ")

    assert set(stacks) == tids_of(told)
    for function, tid in told["threads"].items():
        assert f"in {function}" in stacks[tid]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("full", marks=pytest.mark.exhaustive),
        "stacks",
    ],
)
def test_stacks_are_those_that_the_program_saw(newer, threads_in, tmp_path, content):
    """Function, file and line of every frame, read on a machine that lacks that Python."""
    told = json.loads(newer.run("/srv/recorded_stacks.py", "/mnt", content, work=tmp_path))

    threads = threads_in(tmp_path / Path(told["bundle"]).name)

    for tid, recorded in told["stacks"].items():
        frames = [[f.function, f.file, f.line] for f in threads[int(tid)].frames]
        assert frames == recorded
        assert threads[int(tid)].incomplete is None
    assert [tid for tid, thread in threads.items() if thread.holds_gil] == [told["main"]]


def test_objects_are_those_that_the_program_counted(newer, heap_of, check_census, tmp_path):
    """Counted on a machine that lacks that Python and its C library."""
    told = json.loads(newer.run("/srv/counted_objects.py", "/mnt", "full", "1000", work=tmp_path))

    check_census(told, heap_of(tmp_path / Path(told["bundle"]).name))


@pytest.fixture(params=["pymalloc", pytest.param("malloc", marks=pytest.mark.exhaustive)])
def with_jemalloc(request, jemalloc, tmp_path):
    """Return an allocator of Python's, and an environment in which jemalloc is below it."""
    library = shutil.copy(jemalloc, tmp_path)
    preloaded = NewerPython.work / Path(library).name
    return request.param, {"PYTHONMALLOC": request.param, "LD_PRELOAD": preloaded}


def test_objects_of_a_malloc_of_unknown_layout_are_found(
    newer, heap_of, check_census, with_jemalloc, tmp_path
):
    """The small ones in pools, or all of them in jemalloc's memory."""
    allocator, environment = with_jemalloc
    counted = ("/srv/counted_objects.py", "/mnt", "private", "1000")
    told = json.loads(newer.run(*counted, work=tmp_path, environment=environment))
    shown = heap_of(tmp_path / Path(told["bundle"]).name)

    check_census(told, shown)
    assert (shown["allocator"], shown["other_malloc"]) == (allocator, "jemalloc")


def test_objects_are_shown_as_the_program_saw_them(newer, check_values, tmp_path):
    """Their repr, attributes, items and types, read on a machine that lacks that Python."""
    told = json.loads(newer.run("/srv/shown_values.py", "/mnt", work=tmp_path))

    check_values(told, tmp_path / Path(told["bundle"]).name)


def test_variables_are_those_that_the_program_saw(newer, check_locals, tmp_path):
    """Name, address and value of each, in every kind of function; and the threads' names."""
    told = json.loads(newer.run("/srv/recorded_locals.py", "/mnt", work=tmp_path))

    check_locals(told, tmp_path / Path(told["bundle"]).name)


def test_tasks_are_those_that_the_program_started(newer, check_tasks, tmp_path):
    """What each waits for, where, and for whom."""
    told = json.loads(newer.run("/srv/recorded_tasks.py", "/mnt", "private", work=tmp_path))

    check_tasks(told, tmp_path / Path(told["bundle"]).name)


def test_what_threads_wait_for_is_what_they_called(newer, check_waits, tmp_path):
    """Locks are mutexes in a parking lot there."""
    told = json.loads(newer.run("/srv/waiting_threads.py", "/mnt", "private", work=tmp_path))

    check_waits(told, tmp_path / Path(told["bundle"]).name)


@pytest.mark.parametrize(
    ("kind", "count"),
    [("deadlocked", 9), pytest.param("healthy", 0, marks=pytest.mark.exhaustive)],
)
def test_deadlocks_are_found_and_no_others(newer, waits_in, tmp_path, kind, count):
    """Of all kinds of locks, with their owners."""
    told = json.loads(newer.run("/srv/locked_threads.py", "/mnt", kind, "private", work=tmp_path))
    waits, deadlocks = waits_in(tmp_path / Path(told["bundle"]).name)

    assert len(deadlocks) == count
    tids = {tid: name for name, tid in told["threads"].items()}
    locks = {
        tids[wait.tid]: wait.lock.address for wait in waits if tids[wait.tid] in told["locks"]
    }
    assert locks == told["locks"]
    for cycle in deadlocks:
        assert len({tids[wait.tid].partition("-")[0] for wait in cycle}) == 1


@pytest.mark.exhaustive
def test_references_are_those_that_the_program_made(newer, check_references, tmp_path):
    """Ways, referrers, retained bytes, garbage; and what has leaked between two dumps."""
    told = json.loads(newer.run("/srv/held_objects.py", "/mnt", work=tmp_path))

    check_references(told, *(tmp_path / Path(told[name]).name for name in ("before", "after")))


@pytest.mark.exhaustive
def test_why_names_a_deadlock_and_stuck_tasks(newer, tool, tmp_path):
    """What keeps threads from working, and where a thousand tasks are."""

    def why(kind):
        told = newer.run("/srv/sick.py", kind, "/mnt", work=tmp_path)
        bundle = tmp_path / Path(told.splitlines()[-1]).name
        command = [tool("gencore"), "why", "--json", "--quiet", bundle]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        return json.loads(done.stdout)

    deadlock, tasks = why("deadlock"), why("stuck_tasks")
    assert deadlock["findings"][0]["sentence"].startswith("deadlock: reserve waits for a Lock")
    assert deadlock["missing"] == {}
    assert tasks["tasks"][0]["count"] == 1000
    assert tasks["packages"]["gencore"]


def test_no_limit_is_shown_as_unlimited(newer, work):
    """RLIM_INFINITY is positive since 3.15, in the settings' verdict and in the manifest."""
    shown = newer.run("-m", "gencore", "doctor", work=work)

    assert "RLIMIT_FSIZE hard" in shown
    assert "18,446,744,073,709,551,615" not in shown


def test_subinterpreters_dump_at_the_same_time(newer, tmp_path):
    """Each has a GIL of its own, and each core is whole, with the threads of all of them."""
    told = json.loads(newer.run("/srv/subinterpreters.py", newer.work, "3", work=tmp_path))

    assert len(told["cores"]) == 3
    for path in told["cores"]:
        with CoreFile(tmp_path / Path(path).relative_to(newer.work)) as core:
            assert core.why_incomplete() is None
            # one that waits for its turn, and ran while it was read, has no registers
            assert len(set(core.thread_ids) & set(told["threads"])) >= 2


def test_a_subinterpreter_goes_on_after_a_dump_of_the_main_one(newer, tmp_path):
    """Its frames and their memory are left to it."""
    shown = newer.run("/srv/beside_subinterpreters.py", newer.work, work=tmp_path)

    assert shown.split() == ["complete", "complete"]
