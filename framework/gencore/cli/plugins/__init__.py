"""``gencore plugins``: every installed plug-in, what became of loading it, and its options."""

import json
from typing import Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore._plugins import loader
from gencore._plugins.catalogue import faults_of_policy
from gencore._plugins.entry import GROUPS
from gencore._settings.options import check_plugin_name
from gencore.cli import completion
from gencore.cli.json_output import print_json
from gencore.cli.options import json_option
from gencore.cli.plugins.new import new
from gencore.cli.plugins.policy import print_policy_faults
from gencore.cli.plugins.rows import Row, describe, rows_of

__all__ = ["plugins"]

_FAMILY_WIDTH: Final = max(map(len, GROUPS))


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def plugins(context: click.Context, *, as_json: bool) -> None:
    """List installed plug-ins, and whether each works.

    A row has family, name, distribution, version and status; reason and remedy are below it.

    \b
    Examples:
      gencore plugins
      gencore plugins show archive
    """
    if context.invoked_subcommand is not None:
        return
    rows = [row for family in GROUPS for row in rows_of(family)]
    faults = faults_of_policy()
    if as_json:
        policy = [attrs.asdict(fault) for fault in faults]
        print_json({"plugins": rows, "policy_faults": policy})
        return
    print_policy_faults(faults)
    origins = [f"{row['distribution']} {row['version']}" for row in rows]
    widest = max(map(len, origins), default=0)
    longest = max((len(row["name"]) for row in rows), default=0)
    for row, origin in zip(rows, origins, strict=True):
        family = f"{row['family']:{_FAMILY_WIDTH}}"
        columns = (family, f"{row['name']:{longest}}", f"{origin:{widest}}", row["status"])
        click.echo("  ".join(columns))
        _echo_reason(row, indent=_FAMILY_WIDTH + 2)


@plugins.command()
@click.argument("name", shell_complete=completion.plugins())
@json_option
@click.pass_context
def show(context: click.Context, *, name: str, as_json: bool) -> None:
    """Show what a plug-in does, and its options.

    NAME is a plug-in's name, or DISTRIBUTION:NAME; all of that name are shown.

    \b
    Examples:
      gencore plugins show archive
    """
    check_plugin_name("plug-in", name)
    rows = [describe(plugin) for plugin in loader.load_matching(name)]
    before_the_name = context.parent is not None and context.parent.params["as_json"]
    if as_json or before_the_name:
        print_json({"plugins": rows})
        return
    for row in rows:
        _echo_plugin(row)


plugins.add_command(new)


def _echo_plugin(row: Row) -> None:
    click.echo(f"{row['family']} {row['name']}: {row['status']}")
    _echo_reason(row, indent=2)
    click.echo(f"  distribution: {row['distribution']} {row['version']}")
    click.echo(f"  contract version: {row['api_version'] or 'unknown'}")
    if row["description"]:
        click.echo(f"  {escape_unprintable(row['description'])}")
    for option in row["options"]:
        default = "required" if option["required"] else f"default {_as_text(option['default'])}"
        click.echo(f"  option {option['name']}: {option['type']}, {default}")
    if row["other_options"]:
        click.echo(f"  any other option: {row['other_options']}")
    for attribute, value in row["attributes"].items():
        click.echo(f"  {attribute}: {_as_text(value)}")


def _as_text(value: object) -> str:
    """Return a value as JSON writes it, but without quotes and null."""
    if value is None:
        return "none"
    return escape_unprintable(value if isinstance(value, str) and value else json.dumps(value))


def _echo_reason(row: Row, *, indent: int) -> None:
    if row["reason"]:
        click.echo(f"{' ' * indent}{escape_unprintable(row['reason'])}")
    if row["remedy"]:
        click.echo(f"{' ' * indent}remedy: {row['remedy']}")
