"""``gencore objects``: the objects of a type in a core."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gencore._escaping import escape_unprintable, quote_path
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_incomplete
from gencore.cli.found_objects import heap_missing_in, other_malloc_in, print_malloc
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, keep_option, quiet_option, top_option
from gencore.cli.reader_process import answer_to, check_numpy
from gencore.cli.thread_stacks import integer_of
from gencore.errors import UsageError

__all__ = ["objects_command"]


@click.command("objects")
@bundle_argument
@click.option(
    "--type",
    "name",
    metavar="NAME",
    required=True,
    help="The type: its qualified name, or the last part of it.",
)
@click.option(
    "--largest", "order", flag_value="largest", default=True, help="The largest ones.  [default]"
)
@click.option("--sample", "order", flag_value="sample", help="Some, as far apart as possible.")
@top_option(20, "Show N objects.")
@keep_option
@quiet_option
@json_option
@limited
def objects_command(
    *, path: Path, name: str, order: str, top: int, keep: bool, quiet: bool, as_json: bool
) -> int:
    """Show the objects of a type, with their addresses and values.

    Objects of types that inherit from it are not among them. The values may be secrets. If the
    core lacks heap, or is truncated, the exit code is 3.

    \b
    Examples:
      gencore objects --type orders.Order BUNDLE
      gencore objects --type Order --sample --top 5 BUNDLE
    """
    check_numpy()
    with open_input(path) as opened, unpack(opened, keep=keep, quiet=quiet) as copy:
        found, incomplete = answer_to("objects", path, copy, name, order, str(top))
        incomplete = heap_missing_in(opened) or incomplete
    if not found["types"].rows and incomplete is None:
        raise _unknown(path, name, found["close"])
    shown = {
        "types": [_row(row, "count", "size") for row in found["types"]],
        "objects": [
            {**_row(row, "size"), "value": row["value"].text or ""} for row in found["objects"]
        ],
        "other_malloc": (other_malloc := other_malloc_in(found, incomplete)),
        "incomplete": incomplete,
    }
    if as_json:
        print_json(shown)
    else:
        for line in _lines(shown):
            click.echo(escape_unprintable(line))
    print_malloc(other_malloc)
    return print_incomplete(incomplete)


def _unknown(path: Path, name: str, close: ManifestValue) -> UsageError:
    """Return the error, with the names that are most like the one given."""
    like = ", ".join(str(other) for other in close)
    message = f"unknown type: {name!r}" + (f": did you mean {like}?" if like else "")
    return UsageError(
        escape_unprintable(message), remedy=f"gencore heap --top 100 {quote_path(path)}"
    )


def _row(row: ManifestValue, *numbers: str) -> dict[str, Any]:
    return {
        "type": row["type"].text or "",
        "address": row["address"].address,
        **{name: integer_of(row[name]) or 0 for name in numbers},
    }


def _lines(shown: dict[str, Any]) -> Iterator[str]:
    for row in shown["types"]:
        count, size = f"{row['count']:,} objects", f"{row['size']:,} bytes"
        yield f"{row['type']} at {row['address']}: {count}, {size}"
    yield ""
    yield f"{'address':>18}{'size':>12}  value"
    for row in shown["objects"]:
        yield f"{row['address']:>18}{row['size']:>12,}  {row['value']}"
