"""Prints what is wrong with GENCORE_PLUGINS."""

from collections.abc import Iterable

import click

from gencore._escaping import escape_unprintable
from gencore.verdict import Reason

__all__ = ["print_policy_faults"]


def print_policy_faults(faults: Iterable[Reason]) -> None:
    """Print each on a line of its own, with its remedy below."""
    for fault in faults:
        click.echo(escape_unprintable(fault.text))
        click.echo(f"  remedy: {escape_unprintable(fault.remedy or 'unknown')}")
