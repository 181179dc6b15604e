"""Shows an error on standard error."""

import click

from gencore._escaping import escape_unprintable
from gencore.errors import GencoreError

__all__ = ["print_error", "print_gap"]


def print_error(error: GencoreError) -> None:
    """Print what is wrong, and the remedy."""
    click.echo(f"gencore: {escape_unprintable(error.message)}", err=True)
    if error.remedy is not None:
        click.echo(f"  remedy: {escape_unprintable(error.remedy)}", err=True)


def print_gap(gap: str) -> None:
    """Print what a program that reads a core is not confined in."""
    click.echo(f"gencore: {escape_unprintable(gap)}", err=True)
