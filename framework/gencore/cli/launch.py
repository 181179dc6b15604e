"""``gencore exec``: starts a command whose Python processes are armed."""

import os
import shutil
from typing import Final, NoReturn

import click

from gencore.errors import UsageError

__all__ = ["exec_command"]

_VARIABLE: Final = "GENCORE_ARM"
"""What a backend's .pth file looks for."""


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
def exec_command(*, command: tuple[str, ...]) -> NoReturn:
    """Run a command, with every Python process below it armed for 'gencore dump'.

    Programs of any virtual environment in which gencore is installed are armed, with -I and -E
    too, but not with -S. Nothing else changes: the command takes the place of this process.
    """
    if not command:
        raise UsageError("no command was given", remedy="gencore exec -- gunicorn app:app")
    if shutil.which(command[0]) is None:
        raise UsageError(f"command {command[0]!r} was not found", remedy="give its full path")
    os.environ[_VARIABLE] = "1"
    os.execvp(command[0], command)  # noqa: S606 - what the user asked for, without a shell
