"""``gencore cache``: what gencore keeps on this machine beside dumps, and its removal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore._quantities import read_age, size_text
from gencore.bundle import cache as copies_of_bundles
from gencore.bundle import packed_files
from gencore.bundle.cache import Copy
from gencore.bundle.packed_files import Kept
from gencore.cli.json_output import print_json
from gencore.cli.leftovers import find_leftovers, sweep_leftovers
from gencore.cli.options import json_option
from gencore.errors import ExitCode

__all__ = ["cache", "clear_unused"]

_directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also what killed dumps have left in this directory.",
)


@attrs.frozen(kw_only=True)
class Entry:
    """One row of the list."""

    kind: str
    """``copy``: of an unpacked bundle. ``libraries``: packed for the next dump. ``leftover``: of a
    dump or of unpacking."""
    path: str
    size: int
    used_at: datetime
    """When it was used or written last."""
    state: str
    """``unused`` or ``in use``; of a leftover see `gencore list --all`."""
    error: str | None = None
    """Why it could not be removed."""


@click.group(invoke_without_command=True)
@_directory_option
@json_option
@click.pass_context
def cache(context: click.Context, *, directory: Path | None, as_json: bool) -> None:
    """List unpacked copies of bundles, and packed libraries.

    Copies contain the memory of the processes. 'gencore cache clear' removes all of it.

    \b
    Examples:
      gencore cache
      gencore cache --directory /var/dumps
    """
    if context.invoked_subcommand is not None:
        return
    entries = [*map(_entry_of, copies_of_bundles.copies()), *_libraries(packed_files.kept())]
    entries += [Entry(**row) for row in find_leftovers(directory)] if directory else []
    if as_json:
        _print_json("entries", entries)
        return
    for entry in entries:
        place = escape_unprintable(entry.path)
        click.echo(
            f"{size_text(entry.size):>12}  {entry.used_at:%FT%T}  {entry.state:<7}  {place}"
        )
    click.echo(f"{size_text(sum(entry.size for entry in entries)):>12}  in all")


@cache.command()
@click.option(
    "--older-than", metavar="AGE", help="Only copies unused for so long, such as 12h or 7d."
)
@_directory_option
@json_option
def clear(*, older_than: str | None, directory: Path | None, as_json: bool) -> int:
    """Remove unused copies of bundles, and packed libraries.

    What was left by unpacking that was killed goes too, whatever its age.

    \b
    Examples:
      gencore cache clear --older-than 7d
    """
    entries = list(clear_unused(0 if older_than is None else read_age(older_than)))
    entries += [Entry(**row) for row in sweep_leftovers(directory)] if directory else []
    if as_json:
        _print_json("removed", entries)
    else:
        for entry in entries:
            _print(entry)
    return ExitCode.PARTIAL if any(entry.error for entry in entries) else ExitCode.COMPLETE


def clear_unused(older_than: float) -> Iterator[Entry]:
    """Remove what has been unused for so many seconds; yield it."""
    for copy, error in copies_of_bundles.clear(older_than):
        yield attrs.evolve(_entry_of(copy), error=None if error is None else str(error))
    yield from _libraries(packed_files.clear(older_than))


def _entry_of(copy: Copy) -> Entry:
    return Entry(
        kind="leftover" if copy.bundle is None else "copy",
        path=str(copy.path / (copy.bundle or "")),
        size=copy.size,
        used_at=datetime.fromtimestamp(copy.used_at, UTC),
        state="in use" if copy.in_use else "unused",
    )


def _libraries(kept: Kept | None) -> Iterator[Entry]:
    if kept is not None:
        used_at = datetime.fromtimestamp(kept.used_at, UTC)
        yield Entry(
            kind="libraries",
            path=str(kept.path),
            size=kept.size,
            used_at=used_at,
            state="unused",
            error=kept.error,
        )


def _print(entry: Entry) -> None:
    place = escape_unprintable(entry.path)
    if entry.error is None:
        click.echo(f"removed {place} ({size_text(entry.size)})")
    else:
        click.echo(f"gencore: not removed: {place}: {escape_unprintable(entry.error)}", err=True)


def _print_json(name: str, entries: list[Entry]) -> None:
    rows = [attrs.asdict(entry) for entry in entries]
    size = sum(entry.size for entry in entries if entry.error is None)
    print_json({name: rows, "size": size})
