"""A confined program runs to its end, or to that of its limits, and its failure has a name."""

import os
import select
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gencore._confinement.confining import Confinement
from gencore._confinement.running import run_reader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux confines")


@pytest.fixture
def run(tmp_path):
    """Return a function that runs Python code, confined to an empty folder."""

    def run(code, seconds=60, **limits):
        command = [sys.executable, "-I", "-c", code]
        confinement = Confinement.of(sys.executable, [tmp_path], **limits)
        return run_reader("reader", command, confinement, seconds)

    return run


def test_what_a_program_prints_is_returned(run, tmp_path):
    """Even what is no text; it began in the folder, without input."""
    code = "import os, sys; os.write(1, os.getcwdb() + b'\\xff'); sys.exit(len(sys.stdin.read()))"

    outcome = run(code)

    assert outcome == (f"{tmp_path}\\xff", None, ())


@pytest.mark.parametrize(
    ("code", "limits", "failure"),
    [
        ("import os; os.kill(os.getpid(), 11)", {}, "was killed by SIGSEGV"),
        ("import sys; sys.exit('a\\nlast')", {}, "failed with exit code 1: last"),
        ("while True: pass", {"cpu_seconds": 1}, "was stopped after 1 s of CPU time"),
        ("import time; time.sleep(100)", {"seconds": 0.5}, "was stopped after 0.5 s"),
        ("bytearray(1 << 40)", {"memory": 1 << 30}, "failed with exit code 1: MemoryError"),
        ("while True: print('x' * 99)", {"output": 4096}, "printed more than 4096 bytes"),
    ],
)
def test_failures_have_a_name(run, code, limits, failure):
    """The signal, the limit, or the last line that the program has printed."""
    assert run(code, **limits).failure == f"reader {failure}"


def test_a_program_that_is_missing_is_a_failure(tmp_path):
    """With the system's reason."""
    confinement = Confinement.of("nonesuch", [tmp_path])

    failure = run_reader("reader", ["nonesuch"], confinement, 60).failure

    assert failure.startswith("reader failed with exit code 1: it cannot be executed: ")


LEAVING_A_CHILD = """
import os, time
tried, trying = os.pipe()
child = os.fork()
if not child:
    try:
        {before}
    finally:
        os.close(trying)
        time.sleep(1000)
os.close(trying)
os.read(tried, 1)
print(child)
"""


@pytest.mark.parametrize("before", ["pass", "os.setsid()", "os.setpgid(0, 0)"])
def test_nothing_that_it_started_outlives_it(run, before):
    """A process that it leaves behind is of its session, cannot leave that, and ends with it."""
    child = int(run(LEAVING_A_CHILD.format(before=before)).output)

    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(child)
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)


def test_without_a_confinement_it_runs_as_any_program(tmp_path):
    """With the user's environment and files."""
    (tmp_path / "file").write_text("anything")
    code = f"import os; print(open({str(tmp_path / 'file')!r}).read(), os.environ['HOME'])"

    outcome = run_reader("reader", [sys.executable, "-c", code], None, None)

    assert outcome == (f"anything {Path.home()}\n", None, ())
