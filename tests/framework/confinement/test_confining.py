"""A confined process reads what it was given, and can do nothing else to its user."""

import errno
import json
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest

from gencore._confinement.confining import Confinement
from gencore._confinement.system_calls import call, system_call

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux confines")

ATTEMPTS = """
import ctypes, errno, json, os, resource, socket, subprocess, sys
given, secret, port, parent = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)

def over(kind, address):
    with socket.socket(kind) as one:
        one.connect(address)

def shared(key):
    if libc.shmget(key, 1, 0o600 | 0o1000) < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmctl(libc.shmget(key, 1, 0), 0, None)

def listed(path):
    if os.path.basename(path) not in os.listdir(os.path.dirname(path)):
        raise FileNotFoundError(errno.ENOENT, path)

attempts = {
    "read what was given": lambda: open(given).read(),
    "execute what was given": lambda: subprocess.run([given], check=True),
    "read the library": lambda: open(os.__file__).read(),
    "read another file": lambda: open(secret).read(),
    "see that it exists": lambda: listed(secret),
    "read another process": lambda: open(f"/proc/{parent}/environ").read(),
    "change what was given": lambda: open(given, "r+").close(),
    "create beside it": lambda: open(f"{given}.new", "w").close(),
    "create in /tmp": lambda: os.close(os.open("/tmp", os.O_TMPFILE | os.O_RDWR)),
    "truncate": lambda: os.truncate(given, 0),
    "change the mode": lambda: os.chmod(given, 0o777),
    "change the times": lambda: os.utime(given),
    "use the network": lambda: over(socket.AF_INET, ("127.0.0.1", port)),
    "send datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "reach a local service": lambda: over(socket.AF_UNIX, secret + ".socket"),
    "share memory": lambda: shared(os.getpid()),
    "limit another process": lambda: resource.prlimit(parent, resource.RLIMIT_CPU),
    "limit itself": lambda: resource.prlimit(0, resource.RLIMIT_CPU),
    "slow another process": lambda: os.sched_setaffinity(parent, os.sched_getaffinity(parent)),
    "leave its group": lambda: os.setpgid(0, 0),
    "start a program": lambda: subprocess.run(["true"], check=True),
}
def outcome(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

print(json.dumps({name: outcome(attempt) for name, attempt in attempts.items()}))
"""
THREAD = """
import time
from gencore._runtime.other_thread import OtherThread
OtherThread("gencore-ahead").begin(lambda: time.sleep(0.2))  # what is read ahead, and not wanted
"""
CONFINED = """
import sys
from pathlib import Path
from gencore._confinement import confining
off, folder, *command = sys.argv[1:]

def impossible(*_):
    raise OSError(38, "switched off")

for name in off.split():
    setattr(confining, name, impossible)
confinement = confining.Confinement.of(command[0], [Path(folder)])
report = lambda gap: print(gap, file=sys.stderr, flush=True)
confining.execute_confined(command, confinement, report)
"""
POSSIBLE = {"read what was given", "read the library", "limit itself", "start a program"}
NO_LANDLOCK = "restrict_files"
NO_FILES = "restrict_files show_only"
ALL_OFF = "restrict_files show_only drop_capabilities refuse_calls"


@pytest.fixture
def place(tmp_path):
    """Make a folder with a file to read, and beside it what belongs to the user."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given/core").write_text("#!/bin/sh\n")
    (tmp_path / "given/core").chmod(0o755)
    (tmp_path / "secret").write_text("secret")
    return tmp_path


def confined(place, off, *command, before=""):
    """Return a command line whose process confines itself, without the layers that are *off*."""
    return [sys.executable, "-c", before + CONFINED, off, str(place / "given"), *command]


@pytest.fixture
def attempt(place):
    """Return a function that has a process try everything: (what happened, stderr)."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(place / "secret.socket"))
        local.listen()

        def run(off=None, before=""):
            paths = [str(place / "given/core"), str(place / "secret")]
            numbers = [str(server.getsockname()[1]), str(os.getpid())]
            command = [sys.executable, "-c", ATTEMPTS, *paths, *numbers]
            if off is not None:
                command = confined(place, off, *command, before=before)
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return json.loads(done.stdout), done.stderr

        yield run


def test_everything_is_possible_without_confinement(attempt):
    """Else the other tests would show nothing."""
    assert set(attempt()[0].values()) == {"done"}


@pytest.mark.parametrize("before", ["", THREAD])
@pytest.mark.parametrize("off", ["", NO_LANDLOCK])
def test_a_confined_process_can_only_read(attempt, off, before):
    """By Landlock, and by namespaces, which have to wait until all threads have ended."""
    happened, told = attempt(off, before)

    if off and "namespaces" in told:
        pytest.skip("this system does not permit user namespaces")
    assert {name for name, outcome in happened.items() if outcome == "done"} == POSSIBLE
    assert told == ""


def test_what_is_impossible_here_is_reported_and_the_rest_holds(attempt):
    """A line that names each way, with the system's reason."""
    happened, told = attempt(NO_FILES)

    assert "files (Landlock: switched off; namespaces: switched off)" in told
    assert len(told.splitlines()) == 1
    assert happened["read another file"] == "done"
    assert happened["use the network"] == "EPERM"


def test_each_layer_reports_for_itself(attempt):
    """Three of them, three lines."""
    happened, told = attempt(ALL_OFF)

    assert [
        line.partition("confinement: ")[2].partition(" (")[0] for line in told.splitlines()
    ] == [
        "files",
        "capabilities",
        "sockets and other system calls",
    ]
    assert set(happened.values()) == {"done"}


def test_signals_to_other_processes_are_refused(place):
    """Those of the user go on."""
    if system_call(444, None, 0, 1) < 6:
        pytest.skip("the kernel's Landlock is older than version 6")
    code = "import os, sys; os.kill(int(sys.argv[1]), 15)"
    with subprocess.Popen(["sleep", "100"]) as other:
        command = confined(place, "", sys.executable, "-c", code, str(other.pid))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        other.kill()

    assert "PermissionError" in done.stderr
    assert other.returncode == -signal.SIGKILL


def test_nothing_is_typed_into_the_users_shell(place):
    """A terminal that a debugger shares with a shell takes no input from it."""
    code = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')"
    python, option, confine, *rest = confined(place, "", sys.executable, "-c", code)
    own = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [python, option, own + confine, *rest],
            stdin=theirs,
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert "PermissionError: [Errno 1]" in done.stderr  # EIO would be the kernel's own setting


@pytest.mark.skipif(os.getuid() != 0, reason="only root has capabilities")
def test_root_is_no_longer_root(place):
    """Nor is a program that it executes."""
    code = "import os; os.nice(-1)"
    done = subprocess.run(
        confined(place, "", sys.executable, "-c", code),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "PermissionError" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_environment_is_the_terminals_and_the_languages(place):
    """No secret of the user, no home, no server to ask for what a build ID names."""
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    environment = {"TERM": "dumb", "LC_ALL": "C.UTF-8"}
    others = {"DEBUGINFOD_URLS": "http://127.0.0.1:1", "TOKEN": "secret", "HOME": "/root"}
    done = subprocess.run(
        confined(place, "", sys.executable, "-c", code),
        env={**environment, **others},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {
        **environment,
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": "/nonexistent",
        "DEBUGINFOD_URLS": "",
    }


def test_a_core_of_a_reader_is_not_written(place):
    """It would have the memory of the other core."""
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    command = confined(place, "", sys.executable, "-c", code)

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "(0, 0)\n"


OWN_LIMITS = """
import resource, signal
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, resource.RLIM_INFINITY))
signal.setitimer(signal.ITIMER_REAL, 1000)
signal.setitimer(signal.ITIMER_PROF, 1000)
"""
LIMITS_FOUND = """
import resource, signal
print(resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY)
print(signal.getitimer(signal.ITIMER_REAL)[0], signal.getitimer(signal.ITIMER_PROF)[0])
"""


def test_the_limits_of_the_process_before_are_not_the_programs(place):
    """A debugger is not interrupted by the timer of the command that became it."""
    python, option, code, *rest = confined(place, "", sys.executable, "-c", LIMITS_FOUND)
    command = [python, option, OWN_LIMITS + code, *rest]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "True\n0.0 0.0\n"


def test_the_home_is_not_a_library(place, monkeypatch):
    """Even if packages lie directly in it, or it is below what is a library otherwise."""
    monkeypatch.setenv("HOME", str(place / "given"))

    confinement = Confinement.of(sys.executable, [], [place, place / "given", place / "given/lib"])

    assert str(place / "given/lib") in confinement.executable
    assert not {str(place), str(place / "given")} & set(confinement.executable)


def test_errors_of_system_calls_name_the_reason():
    """By errno, as all of Python's do."""
    with pytest.raises(OSError, match="Bad file descriptor") as failed:
        call("close", -1)
    with pytest.raises(OSError, match="Function not implemented"):
        system_call(100_000)
    assert failed.value.errno == errno.EBADF
