"""The command line as a person or a script uses it."""

import inspect
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest

import gencore
from gencore import __version__
from gencore.cli import gencore as command_line


@pytest.fixture
def cli(tmp_path):
    """Return a function that runs the command line, with some lines of Python before."""

    def run(*arguments, patch=""):
        program = f"{patch}\nimport gencore.cli; gencore.cli.main()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            timeout=100,
        )

    return run


def test_only_the_command_that_runs_is_imported(python):
    """Each start of the command line would pay for all the others: ``--version`` needs none."""
    code = """if True:
        import contextlib, io, json, sys
        from gencore.cli import gencore
        groups = []
        for arguments in (["--version"], ["ps", "--help"]):
            with contextlib.redirect_stdout(io.StringIO()):
                gencore.main(arguments, standalone_mode=False)
            loaded = {name.split(".")[2] for name in sys.modules if "gencore.cli." in name}
            groups.append(sorted(loaded | {"attrs"} & set(sys.modules)))
        print(json.dumps(groups))
    """
    version, ps = python(code)

    assert version == ["errors"]
    assert set(ps) == {"attrs", "completion", "errors", "json_output", "options", "ps"}


def test_the_help_lists_every_command_with_its_summary(cli):
    """Those that were not imported too."""
    shown = cli("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    rows = [line.split(maxsplit=1) for line in shown.splitlines()]

    assert {"demo", "dump", "list", "verify", "plugins"} <= {name for name, _ in rows}
    assert ["ps", "List armed processes: age, memory, threads, last dump."] in rows


def subcommands(group=command_line, above=()):
    """Yield the words that call each command, and the command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command, words = group.get_command(context, name), (*above, name)
        yield words, command
        if isinstance(command, click.Group):
            yield from subcommands(command, words)


@pytest.mark.parametrize(("words", "command"), list(subcommands()))
def test_the_help_of_a_command_begins_with_a_whole_line_and_has_examples(words, command):
    """Its first sentence fits into the list of commands on 80 columns."""
    limit = 80 - 2 - 6 - len("extract")  # as click computes it
    first = command.help.splitlines()[0]

    assert command.get_short_help_str(limit) in {first, first.removesuffix(".")}
    examples = inspect.cleandoc(command.help).partition("\n\x08\nExamples:\n")[2].splitlines()
    assert examples
    assert all(f"{line} ".startswith(f"  gencore {' '.join(words)} ") for line in examples)


def test_a_short_option_means_the_same_in_every_command():
    """And whatever has the long one has it too."""
    options = [p.opts for _, command in subcommands() for p in command.params]
    pairs = {"-q": "--quiet", "-o": "--output"}

    assert {(o[0], o[1]) for o in options if len(o[0]) == 2} == set(pairs.items())
    assert not [o for o in options if o[0] in pairs.values()]


def test_the_version_has_a_short_option(cli):
    """As in most programs."""
    assert cli("-V").stdout == cli("--version").stdout == f"gencore, version {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["lsit"], "No such command 'lsit'. Did you mean 'list'?\n"),
        (["xyzzy"], "No such command 'xyzzy'.\n"),
        (["plugins", "shwo"], "Did you mean 'show'?\n"),
        (["list", "--sinze", "2h"], "'--since'"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(cli, words, hint):
    """If one is near."""
    done = cli(*words)

    assert done.returncode == 2
    assert hint in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "full"),
    [("ps", 0, 1), ("--help", 0, 1), ("info none", 2, 2), ("info none --json", 2, 1)],
)
@pytest.mark.parametrize("streams", [">/dev/full", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_state_of_the_standard_streams_ends_in_a_traceback(
    tmp_path, words, code, full, streams
):
    """A full disk is a failure if something is printed; a closed stream is one nobody reads."""
    told = tmp_path / "told"
    command = f"{sys.executable} -m gencore {words} 2>{told} {streams}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False)

    assert not re.search("Traceback|Exception ignored", told.read_text())
    assert done.returncode == (full if "full" in streams else code)


def test_demo_dumps_itself_and_reads_the_bundle_back(cli, tmp_path):
    """All threads are found in the bundle, and all go on."""
    done = cli("demo", "--directory", str(tmp_path), "--json")
    outcome = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert outcome["result"] == "complete"
    assert outcome["read_back"]["core_hash_matches"]
    names = {thread["name"] for thread in outcome["read_back"]["threads"]}
    assert {"sleep", "queue", "socket", "lock", "compute", "heartbeat"} <= names
    assert all(outcome["still_running"].values())


@pytest.mark.usefixtures("small")
def test_a_demo_without_json_is_readable_and_names_each_stage_once(cli):
    """Stages go to standard error, however long they last; the outcome to standard output."""
    done = cli("demo")
    lines = done.stderr.splitlines()

    assert "pause" in done.stdout
    assert "Service.queue" in done.stdout
    assert lines[0] == "gencore: writing the core"
    assert len(lines) == len(set(lines))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "program",
    [
        ".venv/bin/gencore",
        pytest.param("gencore", marks=pytest.mark.exhaustive),
        pytest.param(f"{sys.executable} -m gencore", marks=pytest.mark.exhaustive),
    ],
)
def test_what_demo_says_to_type_next_works(tmp_path, program):
    """However it was called, and however the directory is called."""
    (tmp_path / "it's here").mkdir()
    (tmp_path / ".venv").symlink_to(sys.prefix)
    path = f"{sys.prefix}/bin:{os.environ['PATH']}" if program == "gencore" else os.environ["PATH"]

    def run(line):
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
        )

    shown = run(f'{program} demo -o "it\'s here"').stdout

    lines = re.findall(rf"^ +({re.escape(program)} .*)$", shown, re.MULTILINE)
    assert len(lines) == 3
    assert shown.endswith(f"{lines[-1]}\n")
    assert all(run(line).stdout for line in lines)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("columns", [80, pytest.param(0, marks=pytest.mark.exhaustive)])
def test_a_terminal_gets_a_bar(tmp_path, columns):
    """It is drawn over and over on one line, and taken away in the end; 0 columns are unknown."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    command = [sys.executable, "-m", "gencore", "demo"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)

    assert process.returncode == 0
    assert re.search(r"\r(writing the core|collecting|publishing): ", shown)
    assert "gencore: " not in shown


def _read(fd):
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # what Linux says when the other end is closed
        return b""


@pytest.fixture
def interruptible():
    """Let programs that are started take SIGINT, which whoever started us may have ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_with_its_own_code(tmp_path):
    """With one line instead of a traceback, and nothing is left of the dump."""
    with subprocess.Popen(
        [sys.executable, "-m", "gencore", "demo", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stderr.readline()  # the dump has begun
        process.send_signal(signal.SIGINT)
        error, shown = json.load(process.stdout), process.stderr.read()

    assert process.returncode == error["exit_code"] == 130
    assert error["error"] == "Interrupted"
    assert "gencore: interrupted" in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def quiet_demo(cli, patch):
    """Run the demo with --quiet, which shows no progress, however the demo ends."""
    done = cli("demo", "--quiet", patch=patch)
    assert done.stderr == ""
    return done


WITHOUT_LIBC = """
import attrs, gencore._pipeline.state as state
import gencore
gencore.Pipeline.start = lambda pipeline: pipeline.start_here("patched")
describe = state.describe

def without_libc(file, *rest):
    library = describe(file, *rest)
    gone = "/libc.so.6" in file.path
    return attrs.evolve(library, status="unreadable", reason="gone") if gone else library

state.describe = without_libc
"""


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_the_command_line_is_loaded_shows_no_traceback(tmp_path):
    """Loading takes a tenth of a second, in which somebody may notice a typing error."""
    (tmp_path / "click.py").write_text(
        "import sys; print('loading', flush=True); sys.stdin.read()"
    )
    command = [Path(sys.executable).with_name("gencore"), "--version"]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert (process.returncode, err) == (-signal.SIGINT, "")


@pytest.mark.usefixtures("small")
def test_a_partial_demo_says_what_is_missing_and_ends_with_3(cli):
    """The bundle is read back all the same."""
    done = quiet_demo(cli, WITHOUT_LIBC)

    assert done.returncode == 3
    assert "result     partial" in done.stdout
    assert "libc.so.6: gone" in done.stdout
    assert "hash matches" in done.stdout


OTHER_HASH = """
import sys, gencore.cli.demo
module = sys.modules["gencore.cli.demo"]  # the name in the package is the command's
module._tree_hash = lambda _: "0" * 64
"""


@pytest.mark.usefixtures("small")
def test_demo_compares_the_hash_of_what_it_reads(cli):
    """It does not take the manifest's word for it."""
    done = quiet_demo(cli, OTHER_HASH)

    assert done.returncode == 8
    assert "HASH DIFFERS" in done.stdout


STUCK = """
import sys, threading, gencore.cli.demo
module = sys.modules["gencore.cli.demo"]
waited, again = threading.Event(), module.progress.wait_for

def wait_and_stop(dump, *, quiet):
    report = again(dump, quiet=quiet)
    waited.set()
    return report

def stuck(service):
    waited.wait(0.02)
    if waited.is_set():
        service._stop.wait()

module.progress.wait_for, module.Service.lock = wait_and_stop, stuck
"""


@pytest.mark.usefixtures("small")
def test_demo_ends_with_1_if_a_thread_did_not_go_on(cli):
    """The bundle is whole, but the service was harmed."""
    done = quiet_demo(cli, STUCK)

    assert done.returncode == 1
    assert "running    5 of 6 threads" in done.stdout


def test_plugins_lists_origin_and_status(cli):
    """Name, distribution, version, status."""
    rows = {row["name"]: row for row in json.loads(cli("plugins", "--json").stdout)["plugins"]}

    assert rows["raw"]["status"] == "ok"
    assert rows["raw"]["distribution"] == "gencore"
    assert rows["aix"]["status"] == "unsupported"
    assert rows["aix"]["reason"] == "this is Linux, not AIX"


@pytest.mark.usefixtures("stranger")
def test_plugins_says_how_a_third_partys_backend_is_used(cli):
    """It works, and nobody has named it."""
    shown = cli("plugins").stdout

    assert re.search(r"stranger +stranger 1\.0 +unnamed\n", shown)
    assert "remedy: GENCORE_BACKEND=stranger" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("demo", "--directory", "none"), 4),
        (("demo", "--backend", "windows"), 5),
        (("demo", "--backend", "nonesuch"), 9),
        (("demo", "--nonesuch"), 2),
        (("nonesuch",), 2),
    ],
)
def test_each_cause_has_its_exit_code(cli, arguments, code):
    """And says on standard error what is wrong."""
    done = cli(*arguments)

    assert done.returncode == code
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_quiet_ps_adds_no_note(cli):
    """Not even that no process is armed."""
    nothing = "import gencore.cli.ps as ps; ps.armed_processes = list"

    assert "gencore exec" in cli("ps", patch=nothing).stderr
    assert cli("ps", "-q", patch=nothing).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('errno.EACCES, "Permission denied", "/x"', "/x: Permission denied"),
        ('errno.ECONNREFUSED, "Connection refused"', "Connection refused"),
        ('"timed out"', "timed out"),
    ],
)
def test_an_unforeseen_failure_of_the_system_is_one_line(cli, arguments, says):
    """And is not taken for one of the standard output."""
    patch = f"""if True:
        import errno, gencore.cli.ps as ps
        def fail():
            raise OSError({arguments})
        ps.armed_processes = fail
    """
    done = cli("ps", "--json", patch=patch)
    error = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (1, f"gencore: {says}\n")
    assert (error["error"], error["message"]) == ("GencoreError", says)


def test_help_lists_every_exit_code(cli):
    """A row for each, with what it means."""
    rows = cli("--help").stdout.partition("Exit codes:\n")[2]

    assert [row.strip() for row in rows.splitlines()] == [
        f"{code} {code.meaning}" for code in gencore.ExitCode
    ]


def test_every_exit_code_of_an_error_is_in_the_table():
    """And each code is some error's, but for those of no error."""
    public = [getattr(gencore, name) for name in gencore.__all__]
    errors = [error for error in public if is_error(error)]
    codes = {error.exit_code for error in errors}

    without = {gencore.ExitCode.COMPLETE, gencore.ExitCode.INTERRUPTED}
    assert all(isinstance(code, gencore.ExitCode) for code in codes)
    assert codes == set(gencore.ExitCode) - without


def is_error(found):
    return isinstance(found, type) and issubclass(found, gencore.GencoreError)


def test_errors_come_with_their_remedy(cli):
    """On a line of its own."""
    assert "\n  remedy: create the directory" in cli("demo", "--directory", "none").stderr


def test_remedy_for_another_platforms_backend_is_to_name_none(cli):
    """Nothing can be installed that would make it work here."""
    assert "if no backend is named" in cli("demo", "--backend", "windows").stderr


def test_errors_are_json_too(cli):
    """With --json the error is the one object on standard output."""
    error = json.loads(cli("demo", "--directory", "none", "--json").stdout)

    assert next(iter(error)) == "schema_version"
    assert error["error"] == "OutputError"
    assert error["exit_code"] == 4


def test_wrong_usage_is_json_too(cli):
    """Whoever finds it: the command, or the library that reads the command line."""
    for wrong in (["verify", "--json"], ["dump", "--json"], ["demo", "--json", "--no-such"]):
        done = cli(*wrong)

        error = json.loads(done.stdout)
        assert (done.returncode, error["exit_code"], error["error"]) == (2, 2, "UsageError")
        assert error["message"] in done.stderr


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("#!/bin/sh", 0o644, "'./it' is not executable\n  remedy: chmod +x ./it; or name its"),
        ("exit", 0o755, "'./it' cannot be executed: Exec format error\n  remedy: begin its first"),
        ("#!/none", 0o755, "'./it' cannot be executed: No such file or directory\n  remedy: corr"),
    ],
)
def test_a_command_that_cannot_be_executed_comes_with_the_cause(cli, tmp_path, text, mode, says):
    """It exists, so that it was not found would lead astray."""
    program = tmp_path / "it"
    program.write_text(f"{text}\n")
    program.chmod(mode)

    done = cli("exec", "--", "./it")

    assert done.returncode == gencore.ExitCode.USAGE
    assert says in done.stderr


def test_a_missing_directory_does_not_keep_a_service_from_starting(cli, tmp_path):
    """It may be mounted later: a line says that dumps fail until then."""
    done = cli("exec", "-o", "none", "--", "echo", "started")

    assert done.stdout == "started\n"
    assert f"{tmp_path / 'none'}: not a directory; until it is, dumps fail" in done.stderr
