"""What all tests share: a lock on the machine's core_pattern, tools, programs in a new process."""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from importlib.abc import Loader
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from gencore import cli as command_line
from gencore._recorder.job import NoRecorder
from gencore._runtime import os_thread
from gencore.bundle.codecs import CODECS, GZIP, ZSTD, codec_of
from gencore.bundle.writer import BundleWriter
from gencore.bundle.zstd_library import zstd_library
from gencore_collectors.archive import ArchiveCollector, ZstdArchiveCollector

SYSCTL = Path("/proc/sys/kernel")
PATTERN, USES_PID = SYSCTL / "core_pattern", SYSCTL / "core_uses_pid"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGE = ("eventlet", "gevent", "numpy", "pystack", "yaml", "zstandard")
"""Packages of megabytes, in memory and in libraries."""
FEW_EXAMPLES = 30
"""So many of each property are tried, if the exhaustive tests are left out; else 100."""
GARBAGE = 1024
"""Pages by which this process may grow until its garbage is collected."""
PAGES = pytest.StashKey()


@contextlib.contextmanager
def core_pattern_lock(operation):
    """Lock kernel.core_pattern on this machine: LOCK_SH to depend on it, LOCK_EX to change it.

    Whoever waits holds up those who come later, so that many short readers starve no writer.
    """
    with PATTERN.open("rb") as pattern:
        with USES_PID.open("rb") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(pattern, operation)
        try:
            yield
        finally:
            fcntl.flock(pattern, fcntl.LOCK_UN)  # closing it does not, if a child has it too


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Hold the lock for a test: some change kernel.core_pattern, the others depend on it.

    Not in a fixture, where the wait would count as the test's time.
    """
    if sys.platform != "linux":
        return (yield)
    changes = "core_pattern" in item.fixturenames
    with core_pattern_lock(fcntl.LOCK_EX if changes else fcntl.LOCK_SH):
        return (yield)


class NotHere(Loader):
    """Finds the large packages and loads none: each later dump of this process would have it.

    Tests start programs that import them.
    """

    @classmethod
    def find_spec(cls, name, *_):
        spec = PathFinder.find_spec(name) if name in LARGE else None
        if spec is not None:
            spec.loader = cls()
        return spec

    def exec_module(self, module):
        raise ImportError(f"{module.__name__}: too large for the process of the tests")


def pytest_configure(config):
    """Make dumps of this process small, the start of others short, and properties few examples.

    By default the GNU C library keeps up to 64 MiB of freed memory in each of many arenas, see
    mallopt(3), and every later dump has them too. Without byte code, each of the many interpreters
    that tests start would compile gencore again.
    """
    os.environ["HYPOTHESIS_NO_PLUGINS"] = "yes"  # that of selenium's trio loads it
    if config.option.markexpr == "not exhaustive":
        from hypothesis import settings

        settings.register_profile("short", max_examples=FEW_EXAMPLES)
        settings.load_profile("short")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(option, 128 << 10)


def pytest_addoption(pluginmanager):
    """Let pytest-randomly shuffle; it would import numpy to seed it."""
    sys.meta_path.insert(0, NotHere)
    pluginmanager.register(importlib.import_module("pytest_randomly"), "shuffling")


def pytest_xdist_auto_num_workers(config):
    """Run the whole suite in three processes for two CPUs, as many tests wait for something.

    What was chosen from it is run in this process; the exhaustive tests alone, or all others, are
    as long as a whole suite.
    """
    marks = {"", "not exhaustive", "exhaustive"}
    chosen = config.option.keyword or config.option.markexpr not in marks
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen
    return (3 * (os.cpu_count() or 1) + 1) // 2 if whole else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with what may take longest, so that no process is left alone with it at the end."""
    sizes = Counter(item.path for item in items)

    def most(item):
        limit = item.get_closest_marker("timeout")
        return limit.args[0] if limit else 0, sizes[item.path]

    items.sort(key=most, reverse=True)


def pytest_collection_finish():
    """Let no later search for garbage look at the tests: they are 160,000 objects, and stay."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Free what a test has left: cores in cycles, which each later dump of this process has too.

    What it has raised may be its parameter, which stays, and with it the frames that it went
    through. Garbage is collected if there is much.
    """
    yield
    parameters = getattr(item, "callspec", None) and item.callspec.params
    for value in (parameters or {}).values():
        if isinstance(value, BaseException):
            value.__traceback__ = value.__context__ = None
    if sys.platform == "linux" and _resident_pages() > item.config.stash.get(PAGES, 0) + GARBAGE:
        gc.collect()
        item.config.stash[PAGES] = _resident_pages()


def _resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.fixture
def core_pattern():
    """Return a function that sets core_pattern and core_uses_pid until the test has ended."""
    before = expected = [file.read_text() for file in (PATTERN, USES_PID)]

    def change(pattern, uses_pid="0"):
        nonlocal expected
        try:
            PATTERN.write_text(pattern)
            USES_PID.write_text(uses_pid)
        except OSError as error:
            pytest.skip(f"may not write kernel.core_pattern: {error}")
        expected = [file.read_text() for file in (PATTERN, USES_PID)]

    try:
        yield change
    finally:
        found = [file.read_text() for file in (PATTERN, USES_PID)]
        for file, text in zip((PATTERN, USES_PID), before, strict=True):
            with contextlib.suppress(PermissionError):
                file.write_text(text)
    assert found == expected, "another program has changed kernel.core_pattern meanwhile"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):  # noqa: ARG001 - the hook's signature
    """Make every skip a failure in CI, where everything must be there."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session", params=["linux-elf", "linux-sigsegv"])
def backend(request):
    """Name each backend of Linux."""
    return request.param


@pytest.fixture(scope="session")
def make_once(tmp_path_factory):
    """Return a function that makes a folder once for all processes that run the tests."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def once(name, make):
        made = shared / name
        with (shared / f"{name}.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not lock.seek(0, os.SEEK_END):  # else somebody has written that it is there
                shutil.rmtree(made, ignore_errors=True)  # of one that failed
                made.mkdir()
                make(made)
                lock.write("made")
        return made

    return once


@pytest.fixture(scope="session")
def tool():
    """Return a function that finds a program."""

    def find(name):
        beside = Path(sys.executable).with_name(name)
        path = str(beside) if beside.exists() else shutil.which(name)
        return path or pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture
def python(tmp_path):
    """Return a function that runs code in a new interpreter and returns the JSON it prints."""

    def run(code, *args, env=None, cwd=None):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, args)],
            capture_output=True,
            text=True,
            cwd=cwd or tmp_path,
            env={**os.environ, **(env or {})},
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(autouse=True)
def recorders(request, monkeypatch):
    """Let the dumps of the tests' own process be made in it, unless they are marked otherwise.

    The stages are the same, but what a test has replaced or made is unknown to another process.
    Programs that tests start have recorders as ever.
    """
    if request.node.get_closest_marker("recorder") is None:

        def refuse(_):
            raise NoRecorder("the tests make their dumps themselves")

        monkeypatch.setattr("gencore._recorder.starting.refuse", refuse)


@pytest.fixture
def let_others_in():
    """Return a function that lets other users into a directory for temporary files."""

    def let_in(directory):
        top = Path(tempfile.gettempdir())
        for path in (directory, *directory.parents):
            if path.is_relative_to(top) and path != top:
                path.chmod(path.stat().st_mode | 0o055)

    return let_in


@pytest.fixture
def refuse_thread(monkeypatch):
    """Return a function after which no thread of that name can be started."""
    make = os_thread.OsThread.__init__

    def refuse(name):
        def make_another(thread, function, its_name=None):
            if its_name == name:
                raise os_thread.NoThread("can't start new thread")
            make(thread, function, its_name)

        monkeypatch.setattr(os_thread.OsThread, "__init__", make_another)

    return refuse


@pytest.fixture
def new_children():
    """Return a function that returns the children this process has got since the test began.

    Those that were not waited for included. Others belong to other tests, or to the library:
    multiprocessing keeps a tracker of its shared memory.
    """
    before = _children()
    return lambda: _children() - before


def _children():
    children = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children |= {int(child) for child in file.read_text().split()}
    return children


@pytest.fixture
def settled():
    """Return a function that waits until no thread of gencore's own is left in this process."""

    def wait():
        end = time.monotonic() + 20
        while names := own_threads():
            assert time.monotonic() < end, names
            time.sleep(0.005)

    return wait


def own_threads():
    """Return the names of the threads of this process that are gencore's."""
    names = []
    for comm in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            names.append(comm.read_text().strip())
    return [name for name in names if name.startswith("gencore-")]


@pytest.fixture
def tmpfs(tmp_path):
    """Return a function that mounts a small file system and returns its directory."""
    mounted = []

    def mount(options):
        directory = tmp_path / f"tmpfs{len(mounted)}"
        directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a tmpfs")
        mounted.append(directory)
        return directory

    yield mount
    for directory in mounted:
        subprocess.run(["umount", directory], check=True)


@pytest.fixture(scope="session")
def write_bundle():
    """Return a function that writes a bundle of some files, as the product does.

    The path's ending says which codec.
    """

    def write(path, files, top="core_20260101.000000.1.001"):
        with path.open("wb") as file:
            codec = ZSTD if path.suffix == ".zst" else GZIP
            bundle = BundleWriter(file, top, 0, codec)
            for name, data in files.items():
                bundle.begin(name, len(data), tree=name == "core")
                bundle.write(data)
                bundle.end()
            bundle.close()
        return path

    return write


@pytest.fixture(scope="module", params=CODECS, ids=lambda codec: codec.name)
def codec(request):
    """Choose what a bundle is compressed with."""
    return request.param


@pytest.fixture(params=[ArchiveCollector, ZstdArchiveCollector], ids=lambda packer: packer.name)
def packer(request):
    """Choose the collector that makes bundles, and with it their codec."""
    return request.param


@pytest.fixture(scope="session")
def open_tar():
    """Return a function that opens a bundle, or its bytes, as Python does."""

    @contextlib.contextmanager
    def opened(bundle):
        with io.BytesIO(bundle) if isinstance(bundle, bytes) else bundle.open("rb") as file:
            is_zstd = codec_of(file.read(len(ZSTD.magic))) is ZSTD
            file.seek(0)
            plain = (
                zstd_library().open(file) if is_zstd else file
            )  # before 3.14, tarfile knows none
            with tarfile.open(fileobj=plain) as tar:
                yield tar

    return opened


@pytest.fixture
def inside(monkeypatch, capsys):
    """Return a function that runs the command line in this process: (code, out, err)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gencore", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def command(tmp_path, inside, monkeypatch):
    """Return a function that runs a command on a hostile file and looks at all that it does.

    It ends with 0, or with 3 or 8 and the reason, shows no control character, and writes nothing
    but what it is for.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(path, name, *options):
        before = set(tmp_path.rglob("*"))
        code, out, err = inside(name, *options, path)
        new = set(tmp_path.rglob("*")) - before
        assert all(line.isprintable() for line in (out + err).split("\n")), (name, out, err)
        assert code in {0, 3, 8}, (name, err)
        if code:
            assert re.match("gencore: .+", err) or "WRONG" in out or '"ok": false' in out
            assert new <= {
                tmp_path / "cache",
                tmp_path / "cache/gencore",
                tmp_path / "cache/gencore/bundles",
            }, new
        for made in sorted(new, reverse=True):
            made.rmdir() if made.is_dir() else made.unlink()
        return code, out, err

    return run
