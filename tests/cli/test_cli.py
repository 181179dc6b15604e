"""The command line as a person or a script uses it."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def cli(tmp_path):
    """Return a function that runs the command line."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "gencore", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            timeout=100,
        )

    return run


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


def test_demo_without_json_is_readable(cli):
    """Stage lines go to standard error, the outcome to standard output."""
    done = cli("demo")

    assert "pause" in done.stdout
    assert "Service.queue" in done.stdout
    assert "gencore: " in done.stderr


def test_quiet_demo_shows_no_progress(cli):
    """--quiet prints nothing on standard error."""
    assert cli("demo", "--quiet").stderr == ""


def test_doctor_shows_every_backend_with_its_verdict(cli):
    """All four appear on every platform."""
    done = cli("doctor", "--json")
    report = json.loads(done.stdout)

    assert done.returncode == 0
    assert set(report["backends"]) >= {"linux-sigsegv", "macos-abort", "aix", "windows"}
    assert report["backends"]["linux-sigsegv"]["ok"]
    assert report["backends"]["windows"]["reasons"]


def test_doctor_says_why_a_backend_does_not_work(cli, core_pattern):
    """Reason and remedy; exit code 0 as long as another one does."""
    core_pattern("|/bin/false")

    done = cli("doctor")

    assert done.returncode == 0
    assert "/bin/false" in done.stdout
    assert "remedy: on the host" in done.stdout


def test_doctor_fails_where_nothing_works(tool):
    """Exit code 5."""
    limited = f"ulimit -f 1; exec {tool('gencore')} doctor"
    command = [tool("bash"), "-c", limited]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 5
    assert "RLIMIT_FSIZE" in done.stdout


def test_plugins_lists_origin_and_status(cli):
    """Name, distribution, version, status."""
    rows = {row["name"]: row for row in json.loads(cli("plugins", "--json").stdout)["plugins"]}

    assert rows["raw"]["status"] == "ok"
    assert rows["raw"]["distribution"] == "gencore"
    assert rows["aix"]["status"] == "unsupported"


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


def test_errors_are_json_too(cli):
    """With --json the error is the one object on standard output."""
    error = json.loads(cli("demo", "--directory", "none", "--json").stdout)

    assert error["error"] == "OutputError"
    assert error["exit_code"] == 4
