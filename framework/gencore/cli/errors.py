"""Shows an error on standard error, and describes it for JSON."""

from typing import Any

import click

from gencore._escaping import escape_unprintable
from gencore.errors import GencoreError

__all__ = ["describe_error", "print_error", "print_gap"]


def print_error(error: GencoreError) -> None:
    """Print what is wrong, and the remedy."""
    click.echo(f"gencore: {escape_unprintable(error.message)}", err=True)
    if error.remedy is not None:
        click.echo(f"  remedy: {escape_unprintable(error.remedy)}", err=True)


def print_gap(gap: str) -> None:
    """Print what a program that reads a core is not confined in."""
    click.echo(f"gencore: {escape_unprintable(gap)}", err=True)


def describe_error(error: GencoreError) -> dict[str, Any]:
    """Return the JSON form of an error."""
    return {
        "error": type(error).__name__,
        "message": error.message,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
    }
