"""The options that several commands take, with one name, default and environment variable."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

__all__ = ["BUNDLE", "bundle_argument", "directory_option", "json_option"]

Command = Callable[..., Any]

BUNDLE: Final = click.Path(exists=True, allow_dash=True, path_type=Path)
"""What `open_core` opens."""
bundle_argument = click.argument("path", metavar="BUNDLE", type=BUNDLE)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def directory_option(purpose: str) -> Callable[[Command], Command]:
    """Return ``--directory``, whose help is *purpose*; None if it was not given."""
    otherwise = "Default: GENCORE_DIRECTORY, else as in GENCORE_CONFIG, else the current one."
    return click.option("--directory", type=click.Path(), help=f"{purpose} {otherwise}")
