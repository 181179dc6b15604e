"""``gencore heap``: the Python objects in a core by type, and what its memory is for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_gap, print_incomplete
from gencore.cli.found_objects import heap_missing_in, other_malloc_in, print_malloc
from gencore.cli.json_output import print_json
from gencore.cli.options import (
    bundle_argument,
    json_option,
    keep_option,
    locals_option,
    quiet_option,
    top_option,
)
from gencore.cli.reader_process import Answer, answer_to, ask, check_numpy
from gencore.cli.thread_stacks import integer_of
from gencore.errors import ExitCode

__all__ = ["heap_command"]

_WITHOUT_LAYOUT: Final = ", and allocated is their size alone"
_COLUMNS: Final = ("count", "size", "allocated")
_USES: Final = {
    "objects_in_pools": "objects in pools",
    "raw_in_pools": "buffers and others in pools",
    "free_in_pools": "free in pools",
    "large_objects": "large objects",
    "other": "other anonymous memory",
    "files": "data of files",
}


@click.command("heap")
@bundle_argument
@top_option(20, "Show N types and N objects; --json has every type.")
@click.option("--retained", is_flag=True, help="Show what keeps most alive, and the way to it.")
@locals_option
@keep_option
@quiet_option
@json_option
@limited
def heap_command(
    *, path: Path, top: int, retained: bool, values: bool, keep: bool, quiet: bool, as_json: bool
) -> int:
    """Count the Python objects by type.

    The size is what sys.getsizeof returns, an object's own buffers included; allocated is the
    memory of the objects without these, rounded up as the allocator does. Static objects of the
    interpreter and of libraries are not counted. Of another malloc than glibc's, such as jemalloc,
    allocated is the size alone. If the core lacks heap or is truncated, the exit code is 3; what
    then keeps what alive is unknown.

    --retained shows the objects that retain most: what would be freed if the object went, itself
    and all that only it keeps alive. Each is shown by the shortest way from a module or a thread,
    in which a key is only its type unless it is a number, or --locals is given. It takes some five
    times as long.

    \b
    Examples:
      gencore heap BUNDLE
      gencore heap --top 50 BUNDLE
      gencore heap --retained BUNDLE
    """
    check_numpy()
    with open_input(path) as opened, unpack(opened, keep=keep, quiet=quiet) as copy:
        asked = (str(top), *(("retained", "locals" if values else "") if retained else ()))
        (found, incomplete), failure = _find(path, copy, *asked)
        census = _census(found, heap_missing_in(opened) or incomplete)
    if as_json:
        print_json(census)
    else:
        for line in _lines(ManifestValue(census), top):
            click.echo(line)
    print_malloc(census["other_malloc"], _WITHOUT_LAYOUT)
    if failure:
        unknown = f"what keeps what alive is unknown: {failure}"
        click.echo(f"gencore: {escape_unprintable(unknown)}", err=True)
    code = print_incomplete(census["incomplete"])
    return ExitCode.PARTIAL if failure else code


class _Found(NamedTuple):
    """What `gencore.analysis` has found."""

    answer: Answer
    failure: str | None = None
    """Why what retains most is not in it, if it was asked for."""


def _find(path: Path, copy: UnpackedCore, top: str, *retained: str) -> _Found:
    """Count the objects, and look for what retains most, if that is asked for.

    A limit that only the second reaches does not cost the first.
    """
    reading = ask("heap", copy, top, *retained) if retained else None
    if reading is None or reading.failure:
        failure = reading.failure if reading else None
        return _Found(answer_to("heap", path, copy, top), failure)
    for gap in reading.gaps:
        print_gap(gap)
    return _Found(Answer(ManifestValue(reading.value), reading.incomplete))


def _census(found: ManifestValue, incomplete: str | None) -> dict[str, Any]:
    """Return what `gencore.analysis` has found, in the form of --json."""
    known = incomplete is None or found["types"].rows
    return {
        "python": ".".join(str(number) for number in found["version"].rows),
        "allocator": found["allocator"].text or "unknown",
        "other_malloc": other_malloc_in(found, incomplete),
        "types": [
            {"type": row["name"].text or "", **_address(row), **_numbers(row, *_COLUMNS)}
            for row in found["types"].rows
        ],
        "largest": [
            {"type": row["type_name"].text or "", **_address(row), **_numbers(row, "size")}
            for row in found["largest"].rows
        ],
        "memory": _numbers(found["memory"], *_USES) if known else None,
        **_numbers(found, "pools"),
        "retained": _retained(found["retained"]) if found["retained"].known else None,
        "incomplete": incomplete,
    }


def _retained(found: ManifestValue) -> dict[str, Any]:
    """Return which objects retain most, in the form of --json."""
    return {
        **_numbers(found, "reachable", "gencore", "unreachable"),
        "holders": [
            {
                "type": row["type"].text or "",
                "way": row["way"].text or "",
                **_address(row),
                **_numbers(row, "retained"),
            }
            for row in found["holders"]
        ],
    }


def _address(row: ManifestValue) -> dict[str, str | None]:
    return {"address": row["address"].address}


def _numbers(row: ManifestValue, *names: str) -> dict[str, int]:
    return {name: integer_of(row[name]) or 0 for name in names}


def _lines(census: ManifestValue, top: int) -> Iterator[str]:
    allocator = escape_unprintable(str(census["allocator"]))
    yield f"Python {census['python']}; allocator: {allocator}; {_shown(census['pools'])} pools"
    yield ""
    types = census["types"].rows
    yield f"{'count':>12}{'size':>16}{'allocated':>16}  type"
    for row in types[:top]:
        numbers = (_shown(row[name]) for name in _COLUMNS)
        yield "{:>12}{:>16}{:>16}  {}".format(*numbers, escape_unprintable(str(row["type"])))
    sums = (sum(integer_of(row[name]) or 0 for row in types) for name in _COLUMNS)
    where = " in what is left of the core" if census["incomplete"].known else ""
    yield "{:12,}{:16,}{:16,}  all {:,} types{}".format(*sums, len(types), where)
    if census["memory"].known:
        yield ""
        yield f"{'bytes':>28}  writable memory"
    for name, label in _USES.items() if census["memory"].known else ():
        yield f"{_shown(census['memory'][name]):>28}  {label}"
    yield ""
    yield f"{'address':>18}{'size':>10}  largest objects"
    for row in census["largest"].rows:
        name = escape_unprintable(str(row["type"]))
        yield f"{row['address']!s:>18}{_shown(row['size']):>10}  {name}"
    if census["retained"].known:
        yield from _lines_of_retained(census["retained"])


def _lines_of_retained(found: ManifestValue) -> Iterator[str]:
    yield ""
    yield f"{'address':>18}{'retained':>16}  what keeps it alive"
    for row in found["holders"]:
        shown = escape_unprintable(f"{row['type']}  {row['way']}")
        yield f"{row['address']!s:>18}{_shown(row['retained']):>16}  {shown}"
    yield f"{_shown(found['reachable']):>34}  reachable"
    yield f"{_shown(found['gencore']):>34}  of them by modules of gencore itself"
    yield f"{_shown(found['unreachable']):>34}  unreachable: garbage that was not collected yet"


def _shown(number: ManifestValue) -> str:
    return f"{integer_of(number) or 0:,}"
