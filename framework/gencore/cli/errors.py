"""Shows on standard error what is wrong, or missing."""

import click

from gencore._escaping import escape_unprintable
from gencore.errors import ExitCode, GencoreError

__all__ = ["print_error", "print_gap", "print_incomplete"]


def print_error(error: GencoreError) -> None:
    """Print what is wrong, and the remedy."""
    click.echo(f"gencore: {escape_unprintable(error.message)}", err=True)
    if error.remedy is not None:
        click.echo(f"  remedy: {escape_unprintable(error.remedy)}", err=True)


def print_gap(gap: str) -> None:
    """Print what a program that reads a core is not confined in."""
    click.echo(f"gencore: {escape_unprintable(gap)}", err=True)


def print_incomplete(reason: str | None) -> ExitCode:
    """Print why what was not found may be there, if so; return the exit code that says it too."""
    if reason is None:
        return ExitCode.COMPLETE
    click.echo(f"gencore: some may be missing: {escape_unprintable(reason)}", err=True)
    return ExitCode.PARTIAL
