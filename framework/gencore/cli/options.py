"""The options that several commands take, with one name, default and environment variable."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from gencore.errors import UsageError

__all__ = [
    "BUNDLE",
    "PTRACE",
    "bundle_argument",
    "check_process",
    "directory_option",
    "json_option",
]

Command = Callable[..., Any]

BUNDLE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that is to be read."""
bundle_argument = click.argument("path", metavar="BUNDLE", type=BUNDLE)
PTRACE: Final = "linux-ptrace"
"""The backend that --ptrace names."""
_PROCESS: Final = re.compile(r"[1-9][0-9]*|[0-9]+/[1-9][0-9]*/[0-9]+")
"""A process ID, or the name of an agent."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def directory_option(purpose: str) -> Callable[[Command], Command]:
    """Return ``--directory``, whose help is *purpose*; None if it was not given."""
    otherwise = "Default: GENCORE_DIRECTORY, else as in GENCORE_CONFIG, else the current one."
    return click.option("--directory", type=click.Path(), help=f"{purpose} {otherwise}")


def check_process(named: str) -> str:
    """Return what names a process. Raises `UsageError` if it cannot be one."""
    if not _PROCESS.fullmatch(named):
        raise UsageError(
            f"{named!r} is neither a process ID nor the name of an agent",
            remedy="list those that are armed: gencore ps",
        )
    return named
