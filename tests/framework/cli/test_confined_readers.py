"""gdb, lldb and pystack, as gencore starts them, read the bundle and nothing of the reader's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gencore.cli.reader_process import Reading, ask

SECRET = "SECRET-OF-THE-READER"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux confines")


@pytest.fixture
def home(tmp_path):
    """Make a home with a secret."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/secret").write_text(f"{SECRET}\n")
    return tmp_path / "home"


@pytest.fixture
def gencore_command(home, tmp_path):
    """Return a function that runs gencore in a virtual environment: (code, output)."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "gencore", *map(str, arguments)],
            env={
                **os.environ,
                **environment,
                "HOME": str(home),
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # is activated
            },
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",  # lldb prints bytes of its own memory with an error
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def in_gdb(path):
    """Return a command line of gdb that tries to show a file."""
    python = f"print(open({str(path)!r}).read())"
    commands = (
        f"shell cat {path}",
        f"source {path}",
        f"python {python}",
        f"pipe p 1 | cat {path}",
    )
    return ["--", "-batch", *(word for command in commands for word in ("-ex", command))]


def in_lldbs_shell(path):
    """Return the same of lldb's shell."""
    return ["--lldb", "--", "--batch", "-o", f"platform shell -h -- cat {path}"]


def in_lldb(path):
    """Return the same of lldb itself, which shows a line that is not a command."""
    return ["--lldb", "--", "--batch", "-o", f"command source {path}"]


@pytest.mark.parametrize("tries", [in_gdb, in_lldbs_shell, in_lldb])
def test_a_debugger_shows_no_file_of_the_reader(gencore_command, bundle, home, tool, tries):
    """Its shell, its scripts and its Python have no more rights than itself."""
    assert tool("gdb" if tries is in_gdb else "lldb")
    arguments = (bundle, *tries(home / "secret"))

    _, shown = gencore_command("open", *arguments)
    _, unconfined = gencore_command("open", "--no-limits", *arguments)

    assert SECRET in unconfined  # else this shows nothing
    assert SECRET not in shown


@pytest.mark.skipif(os.getuid() != 0, reason="only root can read passwords")
@pytest.mark.parametrize("tries", [in_gdb, in_lldb])
def test_a_debugger_of_root_shows_no_passwords(gencore_command, bundle, tool, tries):
    """Being root is of no use to it."""
    assert tool("gdb" if tries is in_gdb else "lldb")
    lines = Path("/etc/shadow").read_text("ascii").splitlines()

    _, shown = gencore_command("open", bundle, *tries("/etc/shadow"))

    assert lines
    assert not any(line in shown for line in lines)


def test_a_debugger_writes_nothing(gencore_command, bundle, home, tool):
    """Neither where it was started nor in the copy that it reads."""
    assert tool("gdb")
    commands = ("shell touch in_folder", f"shell touch {home}/in_home", "dump value /tmp/in_tmp 1")
    options = [word for command in commands for word in ("-ex", command)]

    _, shown = gencore_command("open", "--quiet", bundle, "--", "-batch", *options)

    assert shown.count("Permission denied") == len(commands)
    assert os.listdir(home) == ["secret"]
    assert not list((home.parent / "cache").rglob("in_folder"))


def test_lldb_reads_the_bundle(gencore_command, bundle, tool):
    """As well as without confinement, though a Python that it cannot read is first in PATH."""
    assert tool("lldb")
    look = ("--", "--batch", "-o", "thread list", "-o", "image list")

    shown = [gencore_command("open", "--lldb", *o, bundle, *look) for o in ([], ["--no-limits"])]

    confined, unconfined = (
        out.partition("Process")[2].partition("Traceback")[0] for _, out in shown
    )
    assert [code for code, _ in shown] == [0, 0]
    assert confined == unconfined
    assert "clone_image" in confined
    assert "libc.so.6" in confined


def test_gdb_reads_the_bundle(gencore_command, bundle, tool):
    """As well as without confinement."""
    assert tool("gdb")
    look = ("--", "-batch", "-ex", "info threads", "-ex", "backtrace 3", "-ex", "info sharedlib")

    confined = gencore_command("open", "--quiet", bundle, *look)

    assert confined == gencore_command("open", "--quiet", "--no-limits", bundle, *look)
    assert "clone_image" in confined[1]


@pytest.fixture
def pystack(tmp_path):
    """Return a function that makes a pystack of that code, as one that a core has taken over."""

    def make(code):
        package = tmp_path / "packages/pystack"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "engine.py").write_text(code)
        return str(package.parent)

    return make


READS = """
import socket, sys
told = ["read", open(sys.argv[2], "rb").read(4)]
try:
    told.append(open({secret!r}).read().strip())
except OSError as error:
    told.append(error)
try:
    socket.socket()
    told.append("a socket")
except OSError as error:
    told.append(error)
sys.exit(" ".join(map(str, told)))
"""


def test_pystack_reads_the_core_and_no_file_of_the_reader(gencore_command, bundle, home, pystack):
    """Whatever a core has made of it."""
    packages = pystack(READS.format(secret=str(home / "secret")))

    native = ("stacks", "--native", "--quiet")
    code, shown = gencore_command(*native, bundle, PYTHONPATH=packages)
    _, unconfined = gencore_command(*native, "--no-limits", bundle, PYTHONPATH=packages)

    assert code == 3  # it read no stacks
    assert "read b'\\x7fELF' [Errno 13] Permission denied" in shown
    assert "[Errno 1] Operation not permitted" in shown
    assert SECRET in unconfined
    assert "a socket" in unconfined


@pytest.mark.parametrize(
    ("does", "failure"),
    [
        ("import os; os.kill(os.getpid(), 11)", "pystack was killed by SIGSEGV"),
        ("import sys; sys.exit('\\x1b[2J no')", "pystack failed with exit code 1: \\x1b[2J no"),
        ("while True: print('x' * 1000)", "pystack printed more than"),
    ],
)
def test_stacks_lack_native_frames_if_pystack_fails(
    gencore_command, bundle, pystack, does, failure, *, pid
):
    """The failure is named, on standard error and in JSON, and the exit code is 3."""
    packages = pystack(does)

    native = ("stacks", "--native")
    code, shown = gencore_command(*native, bundle, PYTHONPATH=packages)
    json_code, as_json = gencore_command(*native, "--json", bundle, PYTHONPATH=packages)

    assert (code, json_code) == (3, 3)
    assert f"gencore: {failure}" in shown
    assert "showing the stacks without native frames" in shown
    assert f"Traceback for thread {pid} (MainThread)" in shown
    printed = json.loads(as_json[as_json.index("{\n") : as_json.rindex("}") + 1])
    assert printed["source"] == "core"
    assert failure in printed["reason"]
    assert printed["threads"]


def test_a_pystack_that_loops_is_stopped(inside, bundle, pystack, monkeypatch, tmp_path):
    """By its limit of CPU time, which grows with the core."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(pystack("while True: pass"))
    monkeypatch.setattr("gencore.cli.reader_process._SECONDS", 1)
    monkeypatch.delitem(sys.modules, "pystack", raising=False)

    code, out, err = inside("stacks", "--native", bundle)

    assert code == 3
    assert "s of CPU time: showing the stacks without native frames" in err
    assert "MainThread" in out


IMPORTED = """
import sys
try:
    sys.exit(open({secret!r}).read())
except OSError as error:
    sys.exit(error)
"""


def test_what_counts_objects_reads_no_file_of_the_reader(gencore_command, bundle, home, tmp_path):
    """It is a process of its own, and its failure is named."""
    package = tmp_path / "packages/numpy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(IMPORTED.format(secret=str(home / "secret")))
    packages = str(package.parent)

    code, shown = gencore_command("heap", bundle, PYTHONPATH=packages)
    _, unconfined = gencore_command("heap", "--no-limits", bundle, PYTHONPATH=packages)

    assert code == 8
    assert "heap failed with exit code 1: [Errno 13] Permission denied" in shown
    assert SECRET in unconfined


RING = """
import ctypes, gencore, os, sys, threading, time
def sleep(running):
    running.set()
    time.sleep(60)
running = threading.Event()
thread = threading.Thread(target=sleep, args=(running,), daemon=True)
thread.start()
running.wait()
gencore.collect_core(directory=sys.argv[1], content="stacks").unlink()  # everything is imported
frame = sys._current_frames()[thread.ident]
interpreter_frame = ctypes.c_void_p.from_address(id(frame) + 24).value
previous = ctypes.c_void_p.from_address(interpreter_frame + 48)
del frame
right, previous.value = previous.value, interpreter_frame
dump = gencore.start(directory=sys.argv[1], collectors=["manifest", "archive"])
previous.value = right
print(dump.result().path_of("archive"), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows the frames of CPython 3.11")
def test_a_ring_of_frames_has_an_end(gencore_command, tmp_path, tool):
    """One pointer in a core was changed: pystack follows it until its stack is full."""
    assert tool("pystack")
    command = [sys.executable, "-c", RING, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    code, shown = gencore_command("stacks", "--native", "--quiet", done.stdout.strip())

    assert code == 3
    assert "gencore: pystack was killed by SIGSEGV: showing the stacks" in shown
    assert "    (outer frames are missing: the list of frames does not end)\n" in shown
    assert " (MainThread) [" in shown


LEAD_OUT = """
import os, sys
from gencore._confinement import confining
from gencore.cli.reader_process import Reading, ask
from gencore.cli import main

def impossible(*_):
    raise OSError(38, "switched off")

def execute(*_):
    for fd in range(3, 256):
        try:
            inherited = os.get_inheritable(fd)
        except OSError:
            continue
        if inherited:
            print("inherited")
            os.stat("../" * 100 + secret[1:], dir_fd=fd)
            print("led out")
    sys.stdout.flush()
    os._exit(0)

confining.restrict_files = impossible
os.execve = execute
secret = sys.argv[1]
sys.argv[1:] = ["open", "--quiet", sys.argv[2]]
try:
    main()
except FileNotFoundError:
    sys.stdout.flush()
    os._exit(0)
"""


def test_the_lock_of_a_copy_leads_nowhere(bundle, home, tmp_path):
    """A debugger inherits a directory, and ``..`` ends in its own mount namespace."""
    done = subprocess.run(
        [sys.executable, "-c", LEAD_OUT, home / "secret", bundle],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    if "namespaces" in done.stderr:
        pytest.skip("this system does not permit user namespaces")
    assert done.stdout == "inherited\n", done.stderr


def test_stacks_are_shown_if_deadlocks_cannot_be_looked_for(inside, bundle, monkeypatch, tmp_path):
    """That they are unknown is not that there are none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "gencore.cli.stacks.ask",
        lambda *given: Reading({**ask(*given).value, "deadlocks": None}, "", ()),
    )

    code, out, err = inside("stacks", "--quiet", bundle)
    json_code, as_json, _ = inside("stacks", "--quiet", "--json", bundle)

    assert (code, json_code, err) == (0, 0, "")
    assert "MainThread" in out
    assert "deadlock" not in out
    assert json.loads(as_json)["source"] == "core"
    assert json.loads(as_json)["deadlocks"] is None
