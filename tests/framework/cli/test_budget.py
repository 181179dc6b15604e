"""Reading a file may take so much and no more; what exceeds it is an error like any other."""

import array
import fcntl
import io
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from gencore.bundle import extraction
from gencore.bundle.reader import BundleReader
from gencore.cli.budget import Budget


@pytest.fixture
def cli(inside, monkeypatch, tmp_path):
    """Return a function that runs the command line, in a new directory with a cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return inside


@pytest.fixture
def allow(monkeypatch):
    """Return a function that sets the budget of whatever is read."""

    def allow(**limits):
        given = Budget(**{"cpu_seconds": 60, "seconds": 600, **limits})
        monkeypatch.setattr(Budget, "of_files", classmethod(lambda *_: given))
        monkeypatch.setattr("gencore.cli.listing.TO_SUMMARIZE", given)

    return allow


def compute(*_):
    """Compute for ever, and handle whatever happens meanwhile."""
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


def wait(*_):
    """Wait for ever, as for a file system whose server is gone."""
    signal.pause()


def allocate(*_):
    """Allocate for ever."""
    kept = []
    while True:
        kept.append(bytearray(1 << 26))


SCARCE = [
    (compute, {"cpu_seconds": 0.2}, 7, "0.2 s of CPU time"),
    (wait, {"seconds": 0.2}, 7, "0.2 s"),
    (allocate, {"memory": 1 << 28}, 8, "256 MiB of memory"),
]


@pytest.fixture(params=SCARCE, ids=["cpu", "time", "memory"])
def scarce(request, allow, monkeypatch):
    """Make opening files exceed a limit; return the exit code, and what is reported."""
    does, limits, exit_code, limit = request.param
    allow(**limits)

    def set_up(owner, name):
        monkeypatch.setattr(owner, name, does)
        return exit_code, f"reading took more than {limit}\n"

    return set_up


@pytest.mark.parametrize("command", ["info", "verify", "extract", "stacks", "open", "report"])
def test_a_command_ends_with_its_budget(cli, bundle, scarce, command):
    """The limit is named, and the command that reads the file all the same."""
    exit_code, says = scarce(BundleReader, "__init__")

    code, out, err = cli(command, bundle)

    again = f"gencore {command} --no-limits {shlex.quote(str(bundle))}"
    assert code == exit_code
    assert err == f"gencore: {bundle}: {says}  remedy: if you trust it: {again}\n"
    assert out == ""


@pytest.mark.parametrize("command", ["extract", "stacks", "open"])
def test_nothing_half_made_stays(cli, bundle, scarce, command, tmp_path):
    """Neither where it was to be, nor in the cache."""
    exit_code, says = scarce(extraction, "_copy")

    code, _, err = cli(command, bundle)

    assert code == exit_code
    assert says in err
    assert os.listdir() == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_few_bytes_that_become_many_end_with_the_budget(cli, allow, write_bundle, tmp_path, codec):
    """A quarter of a GiB of zeros is a quarter of a MiB, or less."""
    files = {"usr/lib/zeros.so": bytes(1 << 28), "manifest.json": b"{}"}
    path = write_bundle(tmp_path / f"zeros.{codec.extension}", files)
    allow(cpu_seconds=0.02)

    for command in ("verify", "extract"):
        code, _, err = cli(command, path)

        assert code == 7
        assert "reading took more than 0.02 s of CPU time" in err
    assert os.listdir() == []


@pytest.mark.parametrize("command", [["extract"], ["stacks"], ["open", "--print"]])
def test_what_is_unpacked_is_limited(cli, bundle, monkeypatch, tmp_path, command):
    """Its zeros are not: they are holes. Nothing of it stays, and the remedy works."""
    monkeypatch.setattr("gencore.cli.budget._UNPACKED", 1 << 20)
    monkeypatch.setattr("gencore.cli.budget._EXPANSION", 0)

    code, _, err = cli(*command, bundle)

    assert code == 8
    assert "larger than expected" in err
    assert f"remedy: if you trust it: gencore {command[0]} --no-limits {bundle}" in err
    assert os.listdir(tmp_path / "here") == []
    assert not list((tmp_path / "cache").rglob("core"))
    assert cli(*command, "--no-limits", bundle)[0] == 0
    assert (
        cli(*command, "--no-limits", *(["-o", tmp_path] * (command == ["extract"])), bundle)[0]
        == 0
    )


@pytest.mark.parametrize("name", ["-x.tar.gz", "=ls"])
def test_the_remedy_names_the_file_in_each_shell(cli, name):
    """Zsh takes ``=ls`` for a program, and a command takes ``-x.tar.gz`` for options."""
    os.mkfifo(name)

    assert f"remedy: gencore info - < ./{name}\n" in cli("info", "--", name)[2]


def test_a_stream_without_end_is_refused(cli, monkeypatch, tmp_path):
    """Nothing of it stays on the disk."""
    monkeypatch.setattr("gencore.cli.budget._STREAM", 1 << 20)
    with Path("/dev/urandom").open("rb") as endless:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(endless))
        code, _, err = cli("info", "-")

    assert code == 8
    assert "standard input is larger than 1,048,576 bytes" in err
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_stream_has_time_for_a_large_core():
    """Its size is unknown; that of a file that is standard input is not."""
    code = "from pathlib import Path; from gencore.cli.budget import Budget; "
    code += "print(Budget.of_files(Path('-')).cpu_seconds)"
    command = [sys.executable, "-c", code]

    pipe = subprocess.run(command, input=b"", stdout=subprocess.PIPE, check=True).stdout
    with Path(__file__).open("rb") as file:
        known = subprocess.run(command, stdin=file, stdout=subprocess.PIPE, check=True).stdout

    assert int(pipe) > 10_000
    assert int(known) == 60


def test_a_file_that_exceeds_its_budget_is_a_row(
    cli, bundle, scarce, monkeypatch, tmp_path, *, pid
):
    """And the next one has the whole budget again."""
    for name in ("bad.tar.gz", "good.tar.gz", "worse.tar.gz"):
        os.link(bundle, tmp_path / name)
    read = BundleReader.manifest
    _, says = scarce(BundleReader, "manifest")
    exceed = BundleReader.manifest
    monkeypatch.setattr(
        BundleReader,
        "manifest",
        lambda self: (read if self.path.name == "good.tar.gz" else exceed)(self),
    )

    code, out, _ = cli("list", "--json", tmp_path)

    rows = {Path(row["path"]).name: row for row in json.loads(out)["bundles"]}
    assert code == 0
    assert rows["good.tar.gz"]["pid"] == pid
    for name in ("bad.tar.gz", "worse.tar.gz"):
        error = rows[name]["error"]
        assert error["message"] == f"{tmp_path / name}: {says.strip()}"
        assert error["remedy"].endswith(f": gencore info --no-limits {tmp_path / name}")


def test_a_pipe_into_which_nobody_writes_is_not_waited_for(cli, allow, tmp_path):
    """It has the name of a bundle."""
    os.mkfifo(tmp_path / "core.tar.gz")
    allow(seconds=0.2)

    code, _, err = cli("info", tmp_path / "core.tar.gz")

    assert code == 2
    assert "core.tar.gz: not a regular file" in err
    assert f"remedy: gencore info - < {tmp_path}/core.tar.gz" in err


@pytest.mark.parametrize("command", ["info", "verify", "list", "extract"])
def test_no_limits_are_none(cli, bundle, allow, command):
    """For one's own files."""
    allow(cpu_seconds=1e-6, seconds=1e-6, memory=0)

    assert cli(command, "--no-limits", bundle.parent if command == "list" else bundle)[0] == 0


def test_a_command_leaves_the_process_as_it_was(cli, bundle, allow):
    """Limits, timers and handlers: a test, or a program that calls `main`, has its own."""

    def settings():
        timers = (signal.ITIMER_REAL, signal.ITIMER_PROF)
        return (
            [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGPROF)],
            [signal.getitimer(timer)[0] > 0 for timer in timers],
            resource.getrlimit(resource.RLIMIT_DATA),
        )

    before = settings()
    assert cli("info", bundle)[0] == 0
    after_success = settings()
    allow(cpu_seconds=1e-4)
    assert cli("verify", bundle)[0] == 7

    assert before == after_success == settings()


SLOWLY_READ = """
import sys
from gencore.cli import budget, main
full = budget._output_is_full
def reported():
    found = full()
    print("full" if found else "not full", file=sys.stderr, flush=True)
    return found
budget._output_is_full = reported
main()
"""


def test_the_time_of_a_pager_is_not_ours(bundle, pid):
    """What is printed waits until it is wanted, however long that takes."""
    command = [sys.executable, "-c", SLOWLY_READ, "info", "--json", bundle]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # it loses what a signal interrupts
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment
    ) as process:
        size = fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        while waiting_in(process.stdout) < size:
            os.sched_yield()
        process.send_signal(signal.SIGALRM)  # as at the end of its time
        told = process.stderr.readline()
        shown = json.load(process.stdout)

    assert told == "full\n"
    assert process.returncode == 0
    assert shown["manifest"]["process"]["pid"] == pid


def waiting_in(pipe):
    """Return the bytes that are in a pipe."""
    number = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, number)
    return number[0]


def test_a_budget_grows_with_the_file(tmp_path):
    """One of no size is enough to find out that it is missing."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.touch()
    with large.open("wb") as file:
        file.truncate(1 << 40)

    assert Budget.of_files(tmp_path / "missing") == Budget.of_files(small)
    (tmp_path / "extracted").mkdir()
    (tmp_path / "extracted/core").symlink_to(large)
    assert Budget.of_files(tmp_path / "extracted") == Budget.of_files(large)
    assert Budget.of_files(large).cpu_seconds > 1e6
    assert Budget.of_files(large).seconds > Budget.of_files(large).cpu_seconds
