"""``gencore diff``: which Python objects have become more between two cores, and their holders."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.cli.budget import Budget, no_limits_option, within
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_incomplete
from gencore.cli.found_objects import heap_missing_in, other_malloc_in, print_malloc
from gencore.cli.json_output import print_json
from gencore.cli.options import BUNDLE, json_option, quiet_option, top_option
from gencore.cli.reader_process import answer_to, check_numpy
from gencore.cli.thread_stacks import integer_of

__all__ = ["diff_command", "read_growth"]

_SAMPLE: Final = 5
"""New objects of a type whose addresses are given."""
_SHOWN_HOLDERS: Final = 3
_IDENTITY: Final = (("process", "pid"), ("host", "boot_id"))
_SAME_START: Final = timedelta(seconds=1)
"""How far two dumps of a process may differ in when it was started: the kernel counts ticks."""


@attrs.define
class _Objects:
    """The objects of the types of one name in one core."""

    count: int = 0
    size: int = 0
    types: list[int] = attrs.field(factory=list)
    """The addresses of the types."""
    holders: Counter[str] = attrs.field(factory=Counter)
    addresses: set[int] = attrs.field(factory=set)
    """Of the objects, at most as many as the reader lists."""


@attrs.frozen
class _Growth:
    """A type with more objects, or more bytes, than before."""

    name: str
    before: _Objects
    after: _Objects

    @property
    def size(self) -> int:
        """The bytes that were added."""
        return self.after.size - self.before.size

    def row(self, *, same_process: bool) -> dict[str, Any]:
        """Return it in the form of --json."""
        listed = all(len(side.addresses) == side.count for side in (self.before, self.after))
        new = sorted(self.after.addresses - self.before.addresses)
        ways = (self.after.holders | self.before.holders).keys()
        holders = [
            {"way": way, "before": self.before.holders[way], "after": self.after.holders[way]}
            for way in ways
        ]
        return {
            "type": self.name,
            "count_before": self.before.count,
            "count_after": self.after.count,
            "size_before": self.before.size,
            "size_after": self.after.size,
            "new": len(new) if same_process and listed else None,
            "addresses": list(map(hex, new[:_SAMPLE])) if same_process else [],
            "holders": sorted(holders, key=lambda row: row["before"] - row["after"]),
        }


@click.command("diff")
@click.argument("before", metavar="BEFORE", type=BUNDLE)
@click.argument("path", metavar="AFTER", type=BUNDLE)
@top_option(10, "Show the N types that have grown most.", most=50)
@click.option("--keep", is_flag=True, help="Keep the unpacked copies, for the next command.")
@quiet_option
@json_option
@no_limits_option
def diff_command(
    *, before: Path, path: Path, top: int, keep: bool, quiet: bool, as_json: bool
) -> int:
    """Show which Python objects have become more, and what holds them.

    BEFORE and AFTER are dumps of one process, or of two processes of one service: types are
    compared by name. Those that have grown most, in bytes, come first; below each is what holds
    its objects, with their number. Of one process, an object is new if none of its type was at
    its address before.

    \b
    Examples:
      gencore diff MONDAY TUESDAY
      gencore diff --top 3 --json MONDAY TUESDAY
    """
    with within(Budget.of_files(before, path), path, "diff"):
        found = read_growth(before, path, top, keep=keep, quiet=quiet)
    if as_json:
        print_json(found)
    else:
        for line in _lines(found["grown"], incomplete=found["incomplete"]):
            click.echo(escape_unprintable(line))
    print_malloc(found["other_malloc"])
    return print_incomplete(found["incomplete"])


def read_growth(before: Path, path: Path, top: int, *, keep: bool, quiet: bool) -> dict[str, Any]:
    """Return the *top* types that have grown most, in the form of --json."""
    check_numpy()
    with (
        open_input(before) as earlier,
        open_input(path) as later,
        unpack(earlier, keep=keep, quiet=quiet) as first,
        unpack(later, keep=keep, quiet=quiet) as second,
    ):
        missing = heap_missing_in(earlier) or heap_missing_in(later)
        found_before, found_after = (
            answer_to("heap", *of_one, "1") for of_one in ((before, first), (path, second))
        )
        types = map(_types_in, (found_before.value, found_after.value))
        grown = [] if missing else _grown(*types)[:top]
        _find_holders(before, first, [growth.before for growth in grown])
        _find_holders(path, second, [growth.after for growth in grown])
        same = _is_same_process(earlier, later)
        incomplete = missing or found_before.incomplete or found_after.incomplete
        mallocs = [other_malloc_in(f.value, incomplete) for f in (found_before, found_after)]
    return {
        "same_process": same,
        "grown": [growth.row(same_process=same) for growth in grown],
        "other_malloc": next(filter(None, mallocs), None),
        "incomplete": incomplete,
    }


def _types_in(census: ManifestValue) -> dict[str, _Objects]:
    """Return the objects by type."""
    found: dict[str, _Objects] = {}
    for row in census["types"]:
        objects = found.setdefault(str(row["name"]), _Objects())
        objects.count += integer_of(row["count"]) or 0
        objects.size += integer_of(row["size"]) or 0
        objects.types.append(integer_of(row["address"]) or 0)
    return found


def _grown(before: dict[str, _Objects], after: dict[str, _Objects]) -> list[_Growth]:
    pairs = [_Growth(name, before.get(name, _Objects()), after[name]) for name in after]
    grown = [pair for pair in pairs if pair.size > 0 or pair.after.count > pair.before.count]
    return sorted(grown, key=lambda growth: -growth.size)


def _find_holders(path: Path, copy: UnpackedCore, objects: Iterable[_Objects]) -> None:
    """Ask what holds the objects of some types."""
    present = [each for each in objects if each.types]
    if not present:
        return
    types = [",".join(map(str, each.types)) for each in present]
    rows = answer_to("holders", path, copy, "", *types).value.rows
    for each, row in zip(present, rows, strict=False):
        each.addresses = {integer_of(address) or 0 for address in row["addresses"]}
        for holder in row["holders"]:
            each.holders[str(holder["way"])] += integer_of(holder["count"]) or 0


def _is_same_process(first: OpenedCore, second: OpenedCore) -> bool:
    """Whether a process was dumped twice: its ID, when it was started, and since which boot."""
    one, other = (ManifestValue(opened.facts()) for opened in (first, second))
    begun, begun_too = _started(one), _started(other)
    if begun is None or begun_too is None or abs(begun - begun_too) >= _SAME_START:
        return False
    pairs = [(one[part][name], other[part][name]) for part, name in _IDENTITY]
    return all(a.known and a.text == b.text for a, b in pairs)


def _started(facts: ManifestValue) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(facts["process"]["creation"]["time"]))
    except ValueError:
        return None
    return time if time.tzinfo else None  # as what is written, and can be compared


def _lines(rows: list[dict[str, Any]], *, incomplete: str | None) -> Iterator[str]:
    if not rows:
        yield f"no type has grown{' in what is left of the cores' if incomplete else ''}"
        return
    yield f"{'count':>12}{'size':>16}  type"
    for row in rows:
        count = row["count_after"] - row["count_before"]
        yield f"{count:+12,}{row['size_after'] - row['size_before']:+16,}  {row['type']}"
        if row["new"] is not None:
            sample = ", ".join(row["addresses"])
            yield f"{'':>28}    {row['new']:,} are new{': ' if sample else ''}{sample}"
        more = [holder for holder in row["holders"] if holder["after"] > holder["before"]]
        for holder in more[:_SHOWN_HOLDERS]:
            counts = f"{holder['before']:,} -> {holder['after']:,}"
            yield f"{counts:>28}    {holder['way']}"
