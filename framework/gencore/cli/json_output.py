"""Prints what a command reports, or the error that ended it, as one JSON object."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from gencore._instants import rfc3339
from gencore.errors import GencoreError

__all__ = ["SCHEMA_VERSION", "describe_error", "is_json_requested", "print_json"]

SCHEMA_VERSION: Final = "1.0"
"""Of what all commands print. A later 1.x may add fields; readers ignore unknown ones."""


def print_json(shown: Mapping[str, Any]) -> None:
    """Print the object, with the version of its schema first.

    If it says of itself that it is incomplete, a list without a row becomes null: that nothing
    was found means nothing. Paths become text, and instants RFC 3339 in UTC with microseconds, as
    in the manifest.
    """
    known = {name: value for name, value in shown.items() if not _is_unknown(value, shown)}
    shown = {"schema_version": SCHEMA_VERSION, **dict.fromkeys(shown), **known}
    click.echo(json.dumps(shown, indent=1, default=_as_text))


def _is_unknown(value: object, shown: Mapping[str, Any]) -> bool:
    return shown.get("incomplete") is not None and value in ([], ())


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def describe_error(error: GencoreError) -> dict[str, Any]:
    """Return the form that every error of a command has, whether it ended the command or a row."""
    return {
        "error": type(error).__name__,
        "message": error.message,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
    }


def is_json_requested() -> bool:
    """Whether the command line has ``--json``, wrong or not; what follows ``--`` is not ours."""
    ours = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    return "--json" in ours
