"""``gencore exec``: starts a command whose Python processes are armed."""

import errno
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import click

from gencore._triggers.choices import triggers_chosen, triggers_of_settings
from gencore.errors import UsageError

__all__ = ["exec_command"]

_VARIABLE: Final = "GENCORE_ARM"
"""What a backend's .pth file looks for."""
_REMEDIES: Final[Mapping[int | None, str]] = {
    errno.ENOEXEC: "begin its first line with #! and an interpreter",
    errno.ENOENT: "correct its first line: the interpreter behind #! does not exist",
}


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option(
    "--trigger",
    "triggers",
    multiple=True,
    metavar="ON[=ABOVE][,OPTION=...]",
    help="Dump such a process when this happens: memory=80%, gil=10s, loop=5s, "
    "signal=SIGRTMIN+5, exception, cpu=350%, threads=500 or descriptors=900, with interval=10min, "
    "count=3 and hold=5s behind it. Several are allowed.",
)
@click.option(
    "-o", "--output", metavar="DIR", help="Where the dumps go. Default: as for a pipeline."
)
@click.argument("command", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
def exec_command(
    *, triggers: tuple[str, ...], output: str | None, command: tuple[str, ...]
) -> NoReturn:
    """Run a command, and arm its Python processes for 'gencore dump'.

    Programs of any virtual environment in which gencore is installed are armed, with -I and -E
    too, but not with -S. Nothing else changes: the command takes the place of this process.

    \b
    Examples:
      gencore exec -- gunicorn app:app
      gencore exec --trigger memory=80% -o /var/dumps -- python worker.py
    """
    if not command:
        raise UsageError("no command was given", remedy="gencore exec -- gunicorn app:app")
    _check_command(command[0])
    if triggers:
        triggers_chosen(triggers)  # raises what is wrong with it
        os.environ["GENCORE_TRIGGERS"] = ";".join(triggers)
    triggers_of_settings(os.environ)
    os.environ[_VARIABLE] = "1"
    if output is not None:
        os.environ["GENCORE_DIRECTORY"] = _directory(output)
    _become(command)


def _check_command(name: str) -> None:
    if shutil.which(name) is not None:
        return
    if shutil.which(name, os.F_OK) is None:
        raise UsageError(f"command {name!r} was not found", remedy="give its full path")
    quoted = shlex.quote(name)
    remedy = f"chmod +x {quoted}; or name its interpreter: gencore exec -- python {quoted}"
    raise UsageError(f"command {name!r} is not executable", remedy=remedy)


def _directory(output: str) -> str:
    """Return its absolute path; that it is missing does not keep a service from starting."""
    directory = Path(output).absolute()
    if not directory.is_dir():
        click.echo(f"gencore: {directory}: not a directory; until it is, dumps fail", err=True)
    return str(directory)


def _become(command: tuple[str, ...]) -> NoReturn:
    try:
        os.execvp(command[0], command)  # noqa: S606 - what the user asked for, without a shell
    except OSError as error:
        what = f"command {command[0]!r} cannot be executed: {error.strerror}"
        raise UsageError(what, remedy=_REMEDIES.get(error.errno)) from error
