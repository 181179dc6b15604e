"""``gencore referrers``: what refers to an object in a core, and the way to it from a root."""

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
from gencore.cli.options import (
    ADDRESS,
    bundle_argument,
    json_option,
    keep_option,
    locals_option,
    quiet_option,
    top_option,
)
from gencore.cli.reader_process import answer_to, check_numpy
from gencore.cli.thread_stacks import integer_of
from gencore.errors import UsageError

__all__ = ["referrers_command"]


@click.command("referrers")
@bundle_argument
@click.argument("address", metavar="ADDRESS", type=ADDRESS)
@click.option("--to-root", is_flag=True, help="Show the shortest way to it, too.")
@top_option(20, "Show N referrers.")
@locals_option
@keep_option
@quiet_option
@json_option
@limited
def referrers_command(
    *,
    path: Path,
    address: int,
    to_root: bool,
    top: int,
    values: bool,
    keep: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Show what refers to the object at ADDRESS.

    Each referrer is shown with how it leads to the object: an attribute, a key, an index, a
    variable; a key is only its type unless it is a number, or --locals is given, with which the
    objects are shown too. What native code refers to has more references than referrers. --to-root
    adds the shortest way from a module or a thread, which takes as long as heap --retained.

    \b
    Examples:
      gencore referrers BUNDLE 0x7f3a5c0e1d40
      gencore referrers --to-root BUNDLE 0x7f3a5c0e1d40
    """
    check_numpy()
    with open_input(path) as opened, unpack(opened, keep=keep, quiet=quiet) as copy:
        found, incomplete = answer_to(
            "referrers",
            path,
            copy,
            str(address),
            str(top),
            "to-root" if to_root else "",
            "locals" if values else "",
        )
        missing = heap_missing_in(opened)
        incomplete = missing or incomplete
    if not found["address"].known and not missing:
        where = "" if incomplete is None else ", or its memory is missing in the core"
        raise UsageError(
            f"no object of the heap begins at {address:#x}{where}",
            remedy=f"addresses of large objects: gencore heap {quote_path(path)}",
        )
    other_malloc = other_malloc_in(found, incomplete)
    about_all = {"other_malloc": other_malloc, "incomplete": incomplete}
    shown = {**_shown(found), "address": hex(address), **about_all}
    if as_json:
        print_json(shown)
    elif not missing:
        for line in _lines(ManifestValue(shown), to_root=to_root):
            click.echo(escape_unprintable(line))
    print_malloc(other_malloc)
    return print_incomplete(incomplete)


def _shown(found: ManifestValue) -> dict[str, Any]:
    """Return what was found, in the form of --json."""
    return {
        **_object(found),
        "references": integer_of(found["references"]) or 0,
        "referrers": [
            {**_object(row), "way": row["way"].text or ""} for row in found["referrers"]
        ],
        "referrers_found": integer_of(found["count"]) or 0,
        "way": found["way"].text,
        "steps": [_object(row) for row in found["steps"]] if found["steps"].known else None,
    }


def _object(row: ManifestValue) -> dict[str, Any]:
    return {
        "address": row["address"].address,
        "type": row["type"].text or "",
        "shown": row["shown"].text or "",
        "size": integer_of(row["size"]) or 0,
    }


def _lines(found: ManifestValue, *, to_root: bool) -> Iterator[str]:
    yield f"{found['address']}  {found['shown']}, {found['size']} bytes"
    yield f"{found['references']} references, {found['referrers_found']} referrers found"
    yield ""
    yield f"{'address':>18}  referrer"
    for row in found["referrers"]:
        yield f"{row['address']!s:>18}  {row['type']} {row['way']}"
        yield f"{'':>18}    {row['shown']}"
    if to_root:
        yield ""
        yield f"{'address':>18}  on the way"
        for row in found["steps"]:
            yield f"{row['address']!s:>18}  {row['shown']}"
        yield ""
        yield found["way"].text or _without_way(found)


def _without_way(found: ManifestValue) -> str:
    if found["incomplete"].known:
        return "no way to it in what is left of the core"
    return "nothing leads to it: it is garbage that was not collected yet"
