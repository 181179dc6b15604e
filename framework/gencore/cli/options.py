"""The options that several commands take, with one name, default and environment variable."""

from collections.abc import Callable
from typing import Any

import click

__all__ = ["directory_option", "json_option"]

Command = Callable[..., Any]

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def directory_option(purpose: str) -> Callable[[Command], Command]:
    """Return ``--directory``, whose help is *purpose*; None if it was not given."""
    otherwise = "Default: GENCORE_DIRECTORY, else as in GENCORE_CONFIG, else the current one."
    return click.option("--directory", type=click.Path(), help=f"{purpose} {otherwise}")
