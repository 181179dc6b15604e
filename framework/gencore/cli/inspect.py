"""``gencore inspect``: one object in a core, with what it leads to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gencore._escaping import escape_unprintable, quote_path
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_incomplete
from gencore.cli.json_output import print_json
from gencore.cli.options import (
    ADDRESS,
    bundle_argument,
    json_option,
    keep_option,
    quiet_option,
    top_option,
)
from gencore.cli.reader_process import answer_to, check_numpy
from gencore.cli.thread_stacks import integer_of
from gencore.errors import UsageError

__all__ = ["inspect_command"]


@click.command("inspect")
@bundle_argument
@click.argument("address", metavar="ADDRESS", type=ADDRESS)
@top_option(50, "Show N attributes and N items.")
@keep_option
@quiet_option
@json_option
@limited
def inspect_command(
    *, path: Path, address: int, top: int, keep: bool, quiet: bool, as_json: bool
) -> int:
    """Show the object at ADDRESS: its type, size, attributes and items.

    Each attribute and item has its address, with which one can go on; of a frame, a generator or
    a coroutine, the local variables too. The values may be secrets. Addresses are in what heap,
    objects, referrers and stacks --locals --json print.

    \b
    Examples:
      gencore inspect BUNDLE 0x7f3a5c0e1d40
      gencore inspect --top 500 --json BUNDLE 0x7f3a5c0e1d40
    """
    check_numpy()
    with open_input(path) as opened, unpack(opened, keep=keep, quiet=quiet) as copy:
        found, incomplete = answer_to("inspect", path, copy, str(address), str(top))
    if not found["address"].known:
        raise UsageError(
            f"no object at {address:#x}, or its memory is missing in the core",
            remedy=f"gencore heap {quote_path(path)}",
        )
    shown = {**_shown(found), "incomplete": incomplete}
    if as_json:
        print_json(shown)
    else:
        for line in _lines(shown):
            click.echo(escape_unprintable(line))
    return print_incomplete(incomplete)


def _shown(found: ManifestValue) -> dict[str, Any]:
    """Return what was found, in the form of --json."""
    return {
        **_object(found),
        "type_address": found["type_address"].address,
        "size": integer_of(found["size"]),
        "length": integer_of(found["length"]),
        "attributes_found": integer_of(found["attributes_found"]) or 0,
        "attributes": [{"name": str(row["name"]), **_object(row)} for row in found["attributes"]],
        "items": [
            {"key": _object(row["key"]) if row["key"].known else None, **_object(row)}
            for row in found["items"]
        ],
        "variables": [
            {"name": str(row["name"]), "kind": row["kind"].text, **_object(row)}
            for row in found["variables"]
        ],
    }


def _object(row: ManifestValue) -> dict[str, Any]:
    return {
        "address": row["address"].address,
        "type": row["type"].text,
        "value": row["value"].text or "",
    }


def _lines(shown: dict[str, Any]) -> Iterator[str]:
    size = "unknown" if shown["size"] is None else f"{shown['size']:,} bytes"
    yield f"address     {shown['address']}"
    yield f"type        {shown['type']} at {shown['type_address']}"
    yield f"size        {size}"
    if shown["length"] is not None:
        yield f"length      {shown['length']:,}"
    yield f"value       {shown['value']}"
    yield from _part("attributes", shown["attributes_found"], map(_attribute, shown["attributes"]))
    yield from _part("items", shown["length"] or 0, map(_item, shown["items"]))
    yield from _part("variables", 0, map(_attribute, shown["variables"]))


def _part(title: str, count: int, rows: Iterator[str]) -> Iterator[str]:
    """Yield a heading and the rows; of how many, if not all are there."""
    lines = list(rows)
    if lines:
        yield ""
        yield f"{'address':>18}  {title}" + f" ({len(lines)} of {count:,})" * (len(lines) < count)
        yield from lines


def _attribute(row: dict[str, Any]) -> str:
    return f"{row['address']:>18}  {row['name']} = {row['value']}"


def _item(row: dict[str, Any]) -> str:
    key = "" if row["key"] is None else f"{row['key']['value']}: "
    return f"{row['address']:>18}  {key}{row['value']}"
