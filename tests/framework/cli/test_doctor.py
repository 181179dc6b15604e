"""``gencore doctor`` on this machine, on settings, and on real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gencore
from gencore._quantities import show_size

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's")
COMMAND = Path(sys.executable).with_name("gencore")
WAITS = """
import os, sys
{}
print("ready", flush=True)
sys.stdin.read()
"""
AS_ANOTHER = """
import contextlib, io, os
import gencore.cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    gencore.cli.main()  # loads all that the other user may have no access to
os.setgid(65534)
os.setuid(65534)
gencore.cli.main()
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def doctor(inside, tmp_path, monkeypatch):
    """Return a function that runs it in a directory of the test's: exit code and JSON, or text."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, text=False):
        code, out, err = inside("doctor", *arguments, *([] if text else ["--json"]))
        assert err == ""
        return code, out if text else json.loads(out)

    return run


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Return a function that writes the file of GENCORE_CONFIG."""

    def write(text):
        config = tmp_path / "gencore.toml"
        config.write_text(text)
        monkeypatch.setenv("GENCORE_CONFIG", str(config))
        return config

    return write


@pytest.fixture
def limited(tool, tmp_path):
    """Return a function that runs it behind ulimit."""

    def run(limits, *arguments):
        command = f"{limits}; exec {tool('gencore')} doctor {' '.join(arguments)} | cat"
        return subprocess.run(
            [tool("bash"), "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # they would be cut short
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def service():
    """Return a function that starts a Python process, armed or not."""
    started = []

    def start(*, armed, code=""):
        launcher = [COMMAND, "exec", "--"] if armed else []
        process = subprocess.Popen(
            [*launcher, sys.executable, "-c", WAITS.format(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def rows_of(found):
    return {row["name"]: row for row in found["checks"]}


# ----------------------------------------------------------------- a program that dumps itself


def test_the_first_line_is_the_verdict_with_the_backend(doctor):
    """And nothing that is unknown is shown as a word of Python's."""
    code, shown = doctor(text=True)

    assert code == 0
    assert shown.splitlines()[0] == "yes: a dump would work, by linux-elf"
    assert "None" not in shown
    assert "its core: at most " in shown.splitlines()[1]


def test_the_backend_is_the_one_that_a_dump_takes(doctor, tmp_path, monkeypatch):
    """Also where the settings name another one than the best."""
    monkeypatch.setenv("GENCORE_BACKEND", "linux-sigsegv")
    _, found = doctor()
    report = gencore.start(content="private", collectors=["raw"], directory=tmp_path).result()

    assert (found["ok"], found["backend"]) == (True, "linux-sigsegv")
    assert report.backend == "linux-sigsegv"


def test_every_backend_is_a_row(doctor):
    """Those of other platforms too, each with its reasons."""
    _, found = doctor()
    backends = {row["name"]: row for row in found["backends"]}

    assert set(backends) >= {"linux-elf", "linux-agent", "linux-ptrace", "macos-abort", "windows"}
    assert backends["linux-elf"]["ok"]
    assert backends["windows"]["reasons"][0]["text"] == "this is Linux, not Windows"


def test_it_says_why_a_backend_does_not_work(doctor, core_pattern):
    """Reason and remedy; exit code 0 as long as another one does."""
    core_pattern("|/bin/false")

    code, shown = doctor(text=True)

    assert code == 0
    assert "/bin/false" in shown
    assert "remedy: on the host" in shown


def test_it_fails_where_nothing_works(limited):
    """Exit code 5, and the reasons of each backend that could, with sizes that people read."""
    done = limited("ulimit -f 1")
    lines = done.stdout.splitlines()
    why = "  linux-elf: RLIMIT_FSIZE has a hard limit of 1,024 bytes; the core may need "
    (at,) = [number for number, line in enumerate(lines) if line.startswith(why)]

    assert done.returncode == 5
    assert lines[0] == "no: a dump would fail with exit code 5"
    assert lines[at].endswith(" MiB")
    assert lines[at + 1].startswith("    remedy: start the process with a higher limit")
    assert not any(line.startswith("  aix: ") for line in lines)


def test_the_directory_is_judged(doctor, tmp_path):
    """What is free in it, against what a dump needs, both in bytes."""
    (tmp_path / "there").mkdir(mode=0o750)

    code, found = doctor("--directory", "there")
    rows = rows_of(found)

    assert code == 0
    assert rows["directory"]["value"] == found["directory"] == str(tmp_path / "there")
    assert rows["free_bytes"]["value"] > found["core_size"] > 0
    assert rows["free_bytes"]["state"] == "ok"
    assert rows["directory_mode"] == {
        "name": "directory_mode",
        "state": "ok",
        "value": "0750",
        "text": "0750",
        "remedy": None,
    }
    assert list((tmp_path / "there").iterdir()) == []


def test_a_directory_that_a_dump_would_refuse_is_refused(doctor, tmp_path):
    """With the reason and the remedy, the exit code of the dump, and the backend that works."""
    code, shown = doctor("--directory", "none", text=True)

    assert code == 4
    first, reason, remedy = shown.splitlines()[:3]
    assert first == "no: a dump would fail with exit code 4, although linux-elf works"
    assert reason == f"  {tmp_path}/none: does not exist (ENOENT)"
    assert remedy.startswith("    remedy: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "state", "words"),
    [
        (0o700, "ok", "0700"),
        (0o1777, "ok", "1777"),
        (0o770, "note", "members of its group may rename and remove dumps"),
        (0o777, "note", "dumps go into gencore-"),
    ],
)
def test_who_else_may_write_there_is_said(doctor, tmp_path, mode, state, words):
    """An emptyDir of Kubernetes is 0777 without the sticky bit; the remedy adds it."""
    place = tmp_path / "with space"
    place.mkdir()
    place.chmod(mode)

    _, found = doctor("--directory", place)
    row = rows_of(found)["directory_mode"]

    assert (row["state"], row["value"]) == (state, f"{mode:04o}")
    assert words in row["text"]
    if row["remedy"]:
        subprocess.run(row["remedy"], shell=True, check=True)
        assert place.stat().st_mode & 0o1000


@as_root
def test_file_systems_that_are_odd_places_are_named(doctor, tmpfs):
    """Its memory is that of the container; that nothing may be executed there does no harm."""
    place = tmpfs("size=1m,noexec")
    code, found = doctor("--directory", place)
    row = rows_of(found)["file_system"]

    assert (row["state"], row["value"]) == ("note", "tmpfs")
    assert "dumps take memory here" in row["text"]
    assert "noexec, which does not matter" in row["text"]
    assert code == 4  # too small
    assert "may need" in found["reasons"][0]["text"]


def test_the_limits_of_the_process_are_compared(limited):
    """Each with the command that raises it; the number is in bytes or descriptors."""
    done = limited(f"ulimit -n 40; ulimit -v {16 << 20}; ulimit -Sf 20", "--json")
    rows = rows_of(json.loads(done.stdout))

    assert rows["file_size_limit_bytes"]["value"] == 20 << 10
    assert rows["file_size_limit_bytes"]["state"] == "warning"
    assert rows["file_size_limit_bytes"]["remedy"] == "ulimit -f unlimited"
    assert rows["address_space_limit_bytes"]["value"] == 16 << 30
    assert rows["address_space_limit_bytes"]["text"].startswith("16 GiB, of which ")
    assert 0 < rows["free_descriptors"]["value"] < 40


def test_readers_are_notes(doctor, monkeypatch):
    """A dump needs none of them; each has the command that installs it."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    code, found = doctor()
    rows = rows_of(found)

    assert code == 0
    names = ("gdb", "lldb", "numpy", "pystack", "jinja2")
    assert [rows[name]["state"] for name in names] == ["note"] * 5
    assert rows["pystack"]["remedy"] == "pip install 'gencore[analysis]'"
    assert rows["gdb"]["value"] is None


def test_the_environment_names_the_directory(doctor, tmp_path, monkeypatch):
    """GENCORE_DIRECTORY holds for the commands too."""
    place = tmp_path / "dumps"
    place.mkdir()
    monkeypatch.setenv("GENCORE_DIRECTORY", str(place))

    assert doctor()[1]["directory"] == str(place)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", 0, None),
        ("timeout = 'x'", 2, "timeout='x': expected a number"),
        ("collectors = ['nonesuch']", 9, "not installed"),
        ("directory = '/proc/nonesuch'", 4, "does not exist"),
        ("backend = 'aix'", 5, "this is Linux, not AIX"),
    ],
)
def test_the_settings_are_judged(doctor, configured, text, code, reason):
    """A file that no dump could use is found before one is needed."""
    config = configured(text)

    returned, found = doctor()

    assert (returned, found["exit_code"], found["ok"]) == (code, code, code == 0)
    assert found["configuration"] == str(config)
    assert [reason in row["text"] for row in found["reasons"]] == [True] * (reason is not None)


def test_nothing_is_needed_where_no_file_is_written(doctor, monkeypatch):
    """Artefacts that are sent elsewhere need no directory."""
    monkeypatch.setenv("GENCORE_DESTINATION", "descriptor")
    _, found = doctor()

    assert found["directory"] is None
    assert not {"directory", "free_bytes", "file_system"} & set(rows_of(found))


@pytest.mark.usefixtures("stranger")
def test_a_third_partys_backend_is_listed_and_not_imported(tmp_path):
    """With what names it."""
    done = subprocess.run(
        [COMMAND, "doctor"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "no       stranger\n    because installed by stranger 1.0" in done.stdout
    assert "remedy: GENCORE_BACKEND=stranger" in done.stdout
    assert "imported" not in done.stdout


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("source", ["GENCORE_BACKEND", "GENCORE_CONFIG"])
def test_the_backend_that_is_named_is_asked(monkeypatch, configured, tmp_path, source):
    """By the variable or the file."""
    if source == "GENCORE_CONFIG":
        configured("backend = 'stranger'")
    else:
        monkeypatch.setenv(source, "stranger")
    done = subprocess.run(
        [COMMAND, "doctor"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "yes: a dump would work, by stranger\n" in done.stdout
    assert "yes      stranger\n    seen: here" in done.stdout


# ------------------------------------------------------------------------- another process


def test_an_armed_process_would_be_dumped_by_its_agent(doctor, service):
    """And a dump then takes that backend. How often it was dumped is shown."""
    process = service(armed=True)

    code, found = doctor("--pid", process.pid)
    _, shown = doctor("--pid", process.pid, text=True)
    done = subprocess.run(
        [COMMAND, "dump", "--json", str(process.pid)], capture_output=True, text=True, check=True
    )

    assert code == 0
    assert (found["pid"], found["backend"]) == (process.pid, "linux-agent")
    assert shown.startswith(f"yes: gencore dump {process.pid} would work, by linux-agent\n")
    assert rows_of(found)["armed"]["value"] is True
    assert "dumped 0 times" in rows_of(found)["armed"]["text"]
    assert "ptrace" not in rows_of(found)
    assert json.loads(done.stdout)["dumps"][0]["backend"] == "linux-agent"


def test_an_unarmed_process_has_both_remedies(doctor, service):
    """It is started armed next time; now it can be traced, which the remedy does."""
    process = service(armed=False)

    code, found = doctor("--pid", process.pid)
    rows = rows_of(found)

    assert code == found["exit_code"] == 6
    assert found["reasons"][0] == {
        "text": f"process {process.pid} is not armed",
        "remedy": "start it with: gencore exec -- COMMAND",
    }
    assert (rows["armed"]["state"], rows["armed"]["value"]) == ("no", False)
    if not rows["ptrace"]["value"]:
        pytest.skip(f"no rights to trace: {rows['ptrace']['text']}")
    assert found["reasons"][1]["remedy"] == rows["ptrace"]["remedy"]
    _, *arguments = rows["ptrace"]["remedy"].split()
    assert subprocess.run([COMMAND, *arguments], check=False).returncode == 0


def test_a_process_that_is_gone_is_missing(doctor):
    """Exit code 6, with what lists those that are there."""
    process = subprocess.Popen(["true"])
    process.wait()

    code, found = doctor("--pid", process.pid)

    assert (code, found["ok"], found["backend"]) == (6, False, None)
    assert found["reasons"] == [
        {
            "text": f"process {process.pid} does not exist",
            "remedy": "list those that do: gencore ps",
        }
    ]


@as_root
def test_another_users_process_is_named_as_that(tmp_path, service, let_others_in):
    """Neither its agent answers, nor may it be traced."""
    process = service(armed=True)
    let_others_in(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, "doctor", "--pid", str(process.pid)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 6, done.stderr
    assert "it belongs to another user" in done.stdout.splitlines()[1]
    assert "remedy: ask as that user, or as root" in done.stdout.splitlines()[2]
    assert "\n  no       ptrace " in done.stdout
    assert "\n  note     cap sys ptrace       no\n" in done.stdout


@pytest.mark.parametrize("named", ["0", "self", "-1", "1/2"])
def test_what_names_no_process_is_a_usage_error(inside, named):
    """Before anything is looked at."""
    code, _, err = inside("doctor", "--pid", named)

    assert code == 2
    assert "expected an ID, or the name of an agent" in err


def test_a_stopped_process_does_not_answer(doctor, service, monkeypatch):
    """The remedy lets it run."""
    monkeypatch.setattr("gencore_backends.linux.agent_client._PATIENCE", 600.0)
    process = service(armed=True)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    code, found = doctor("--pid", process.pid)

    assert code == 6
    assert found["reasons"][0]["remedy"] == f"kill -CONT {process.pid}"


def test_the_room_in_memory_is_compared_with_the_process(doctor, service, monkeypatch):
    """What a clone may copy; where that is short, the remedy writes less."""
    process = service(armed=True, code="x = bytearray(50 << 20)")

    _, plenty = doctor("--pid", process.pid)
    monkeypatch.setattr(
        "gencore_backends.linux.agent.room_for_clone", lambda _: (1 << 20, 50 << 20)
    )
    _, short = doctor("--pid", process.pid)
    before, after = (rows_of(found)["free_memory_bytes"] for found in (plenty, short))

    assert before["value"] > 50 << 20
    assert (after["state"], after["value"]) == ("warning", 1 << 20)
    assert after["text"].startswith("1 MiB; a clone may copy 50 MiB")
    assert after["remedy"] == f"gencore dump --fit {process.pid}"


@as_root
def test_the_processes_of_its_user_are_counted(doctor, service):
    """The clone is one of them; root has no limit."""
    process = service(armed=True)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (3, 3))"
    other = service(armed=True, code=f"{limit}; os.setgid(54321); os.setuid(54321)")

    _, of_root = doctor("--pid", process.pid)
    _, found = doctor("--pid", other.pid)
    row = rows_of(found)["free_processes"]

    assert "free_processes" not in rows_of(of_root)
    assert (row["state"], row["value"]) == ("warning", 1)  # itself and its agent
    assert row["text"] == "1 of 3; a dump may need 4"
    assert row["remedy"] == "ulimit -u unlimited"


def test_a_filter_of_calls_is_noted(doctor, service):
    """Whether it refuses one that a dump needs, only a dump shows."""
    code = (
        "import ctypes, struct; libc = ctypes.CDLL(None)\n"
        "allow = struct.pack('HBBI', 6, 0, 0, 0x7FFF0000)\n"
        "program = struct.pack('HxxxxxxP', 1, ctypes.addressof(ctypes.c_char.from_buffer("
        "held := bytearray(allow))))\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"
        "assert libc.prctl(22, 2, program, 0, 0) == 0\n"
    )
    process = service(armed=True, code=code)

    exit_code, found = doctor("--pid", process.pid)

    assert exit_code == 0
    assert rows_of(found)["seccomp"]["state"] == "note"
    assert "seccomp" not in rows_of(doctor()[1]) or "Seccomp:\t2" in own_status()


def own_status():
    return Path("/proc/self/status").read_text()


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (52_260_864, "49.8 MiB"),
        (1000 << 20, "1,000 MiB"),
        (3 << 30, "3 GiB"),
        (5 << 40, "5 TiB"),
    ],
)
def test_sizes_are_shown_as_people_read_them(size, shown):
    """In binary units, to three digits."""
    assert show_size(size) == shown


@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--pid", "1"), ("ps",)])
def test_a_missing_proc_is_named_with_its_remedy(tool, tmp_path, words):
    """Doctor has its verdict all the same, in the place where it is needed most."""
    alone = [tool("bwrap"), "--ro-bind", "/", "/", "--tmpfs", "/proc", "--dev", "/dev"]

    done = subprocess.run(
        [*alone, COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == gencore.ExitCode.UNSUPPORTED, done.stderr
    assert "remedy: mount /proc" in done.stdout + done.stderr
    assert done.stdout.startswith("no: ") is (words[0] == "doctor")
