"""``gencore heap``: the Python objects in a core by type, and what its memory is for."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore.analysis import Memory, find_python
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.corefile import CoreFile
from gencore.errors import ExitCode, IntegrityError, UsageError

if TYPE_CHECKING:
    from gencore.analysis.census import Census

__all__ = ["heap_command"]

_WITHOUT_HEAP: Final = ("stacks", "triage")
"""Contents of a core that has little more than what stacks are read from."""
_UNKNOWN_ALLOCATOR: Final = (
    "gencore: the memory allocator is unsupported: neither pools of CPython nor chunks of glibc's "
    "malloc were found"
)
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
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Show N types and N objects; --json has every type.",
)
@click.option("--keep", is_flag=True, help="Keep the unpacked copy, for the next command.")
@quiet_option
@json_option
@limited
def heap_command(*, path: Path, top: int, keep: bool, quiet: bool, as_json: bool) -> int:
    """Count the Python objects by type.

    The size is what sys.getsizeof returns, an object's own buffers included; allocated is the
    memory of the objects without these, rounded up as the allocator does. Static objects of the
    interpreter and of libraries are not counted. If the core lacks the heap, the exit code is 3.

    \b
    Examples:
      gencore heap BUNDLE
      gencore heap --top 50 BUNDLE
    """
    if importlib.util.find_spec("numpy") is None:
        raise UsageError("numpy is not installed", remedy="pip install 'gencore[analysis]'")
    with open_input(path) as opened, unpack(opened, keep=keep, quiet=quiet) as copy:
        if not copy.core.is_file():
            raise IntegrityError(f"{path}: the core is missing")
        content = ManifestValue(opened.facts())["core"]["content"].text
        version, census = _count(copy, top)
    if as_json:
        print_json({"python": version, **_as_json(census)})
    else:
        for line in _lines(version, census, top):
            click.echo(line)
    if content in _WITHOUT_HEAP:
        click.echo(f"gencore: the core has the content {content}: the heap is missing", err=True)
        return ExitCode.PARTIAL
    if census.allocator == "unknown":
        click.echo(_UNKNOWN_ALLOCATOR, err=True)
        return ExitCode.PARTIAL
    return ExitCode.COMPLETE


def _count(copy: UnpackedCore, top: int) -> tuple[str, "Census"]:
    from gencore.analysis.census import take_census  # an extra

    with CoreFile(copy.core) as core:
        python = find_python(Memory.of_core(core, copy.core, copy.folder), core)
        return ".".join(map(str, python.version)), take_census(python, top=top)


def _as_json(census: "Census") -> dict[str, Any]:
    shown = attrs.asdict(census)
    shown["types"] = [{"type": row.pop("name"), **row} for row in shown["types"]]
    shown["largest"] = [{"type": row.pop("type_name"), **row} for row in shown["largest"]]
    return shown


def _lines(version: str, census: "Census", top: int) -> Iterator[str]:
    yield f"Python {version}; allocator: {census.allocator}; {census.pools:,} pools"
    yield ""
    yield f"{'count':>12}{'size':>16}{'allocated':>16}  type"
    for row in census.types[:top]:
        numbers = f"{row.count:12,}{row.size:16,}{row.allocated:16,}"
        yield f"{numbers}  {escape_unprintable(row.name)}"
    count, size, allocated = (
        sum(getattr(row, name) for row in census.types) for name in ("count", "size", "allocated")
    )
    yield f"{count:12,}{size:16,}{allocated:16,}  all {len(census.types):,} types"
    yield ""
    yield f"{'bytes':>28}  writable memory"
    for name, label in _USES.items():
        yield f"{getattr(census.memory, name):28,}  {label}"
    yield ""
    yield f"{'address':>18}{'size':>10}  largest objects"
    for thing in census.largest:
        yield f"{thing.address:#18x}{thing.size:10,}  {escape_unprintable(thing.type_name)}"
