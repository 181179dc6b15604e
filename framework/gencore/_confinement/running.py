"""Runs a program that reads a core to its end, confined, and says how it ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from gencore._confinement.confining import Confinement, execute_confined

__all__ = ["Outcome", "run_reader", "take_place"]

_PACKAGES: Final = str(Path(__file__).parents[2])
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from gencore._confinement.running import take_place; take_place(*sys.argv[2:])"
)
_LAST: Final = 500
"""Characters of what a program that failed has printed last."""


class Outcome(NamedTuple):
    """How a program ended."""

    output: str
    failure: str | None
    """Why the output is not to be relied on, beginning with the program's name."""
    gaps: tuple[str, ...]
    """What of its confinement was impossible, a line each."""


def run_reader(
    name: str, command: list[str], confinement: Confinement | None, seconds: float | None
) -> Outcome:
    """Run a program to its end, or for that many seconds; what it has started ends with it.

    It has no terminal and no input. Without a confinement it runs like any other program.
    """
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryFile() as gaps,
    ):
        if confinement is not None:
            words = (_PACKAGES, str(gaps.fileno()), json.dumps(confinement), *command)
            command = [sys.executable, "-I", "-S", "-c", _PROGRAM, *words]
        process = subprocess.Popen(  # noqa: S603 - no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=[gaps.fileno()],
            start_new_session=True,
        )
        code = _wait(process, seconds)
        cause = _cause(code, confinement, seconds, _text_of(errors))
        if confinement is not None and _size_of(output) >= (confinement.output or sys.maxsize):
            cause = f"printed more than {confinement.output} bytes"
        failure = f"{name} {cause}" if cause else None
        return Outcome(_text_of(output), failure, tuple(_text_of(gaps).splitlines()))


def take_place(gaps: str, confinement: str, *command: str) -> None:
    """Become the program: what the started interpreter does. Gaps are written to a descriptor."""
    os.set_inheritable(int(gaps), False)  # noqa: FBT003 - the program does not get it
    readable, executable, *limits = json.loads(confinement)
    try:
        execute_confined(
            list(command),
            Confinement(tuple(readable), tuple(executable), *limits),
            lambda gap: os.write(int(gaps), f"{gap}\n".encode()),
        )
    except OSError as error:
        sys.exit(f"it cannot be executed: {error}")


def _wait(process: subprocess.Popen[Any], seconds: float | None) -> int | None:
    """Return its exit code, or None if it took too long."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started may still run
        process.wait()


def _cause(
    code: int | None, confinement: Confinement | None, seconds: float | None, told: str
) -> str | None:
    """Return why it failed, or None."""
    if code is None:
        return f"was stopped after {seconds:g} s"
    if code == -signal.SIGXCPU and confinement is not None:
        return f"was stopped after {confinement.cpu_seconds} s of CPU time"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    last = told.strip().splitlines()[-1:]
    return ": ".join([f"failed with exit code {code}", *last])[:_LAST] if code else None


def _size_of(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="backslashreplace")
