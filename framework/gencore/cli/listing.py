"""``gencore list``: the bundles in a directory, by time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import click

from gencore._escaping import escape_unprintable
from gencore._final_directory import OWN_DIRECTORIES
from gencore._quantities import read_age, size_text
from gencore._settings.sources import resolve_settings
from gencore.bundle.codecs import CODECS
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import TO_SUMMARIZE, no_limits_option, within
from gencore.cli.bundle import fact, open_bundle, service_of
from gencore.cli.json_output import describe_error, print_json
from gencore.cli.leftovers import find_leftovers
from gencore.cli.options import json_option
from gencore.errors import GencoreError, UsageError

__all__ = ["list_command"]

Row = dict[str, Any]

_SUFFIXES: Final = tuple(f".{codec.extension}" for codec in CODECS)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_FACTS: Final = ("created_at", "result", "pid", "service", "reason", "title", "error")


def _read_since(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """Return the instant that an age or an instant means; one without an offset is UTC."""
    if text is None:
        return None
    instant = _instant(text)
    if instant is not None:
        return instant
    try:
        return datetime.now(UTC) - timedelta(seconds=read_age(text))
    except (UsageError, OverflowError) as error:
        raise UsageError(
            f"invalid --since: {text!r} (expected an age or an instant)",
            remedy="write it like this: 2h, 7d or 2026-11-24T04:04",
        ) from error


def _instant(text: str | None) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text or "")
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _or_where_dumps_go(
    context: click.Context, parameter: click.Parameter, directory: Path | None
) -> Path:
    """Return the directory of the settings if none was named; it must exist too."""
    if directory is not None:
        return directory
    configured = resolve_settings({}).directory or "."
    place: Path = parameter.type.convert(str(configured), parameter, context)
    return place


@click.command("list")
@click.argument(
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=False,
    callback=_or_where_dumps_go,
)
@click.option(
    "--since",
    metavar="AGE|TIME",
    callback=_read_since,
    help="Made since then: 2h, 7d or 2026-11-24T04:04 (UTC).",
)
@click.option("--service", metavar="PATTERN", help="Of services whose name matches: 'orders*'.")
@click.option("--pid", type=int, metavar="PID", help="Of the process with this ID.")
@click.option("--all", "every", is_flag=True, help="Also what unfinished dumps are made in.")
@json_option
@no_limits_option
def list_command(
    *,
    directory: Path,
    since: datetime | None,
    service: str | None,
    pid: int | None,
    every: bool,
    as_json: bool,
) -> None:
    """List the bundles in a directory, oldest first.

    Without DIRECTORY those where dumps go: GENCORE_DIRECTORY, else as in GENCORE_CONFIG, else the
    current directory.

    Includes those in the per-user directories (gencore-UID) that gencore creates inside a
    directory in which other users can rename files.

    With --all also the private directories of dumps: of those that go on ("in use"), of those
    that were killed ("dead"), which the next dump removes, of those of which this machine
    cannot know ("unknown"), which it removes when they are a week old, and of those with a
    finished file that could not get its name ("kept").

    \b
    Examples:
      gencore list --since 2h
      gencore list /var/dumps --service 'orders*' --json
    """
    matches = _matching(since, service, pid)
    rows = sorted(filter(matches, _rows(directory)), key=lambda row: row["created_at"] or _NEVER)
    unfinished = list(find_leftovers(directory)) if every else []
    if as_json:
        print_json({"bundles": rows, **({"leftovers": unfinished} if every else {})})
        return
    for row in rows:
        _print(row["size"], row["created_at"], row["path"], _facts(row))
    for row in unfinished:
        _print(row["size"], row["used_at"], row["path"], row["state"])


def _matching(
    since: datetime | None, service: str | None, pid: int | None
) -> Callable[[Row], bool]:
    """Return a filter for rows. What is unknown of a bundle matches nothing."""

    def matches(row: Row) -> bool:
        return (
            (since is None or (row["created_at"] is not None and row["created_at"] >= since))
            and (service is None or fnmatchcase(row["service"] or "", service))
            and (pid is None or row["pid"] == pid)
        )

    return matches


def _rows(place: Path) -> Iterator[Row]:
    for each in (place, *place.glob(OWN_DIRECTORIES)):
        for path in sorted(each.glob("*.tar.*")):
            if path.name.endswith(_SUFFIXES) and path.is_file():
                yield _row(path)


def _row(path: Path) -> Row:
    row = {"path": path, "size": path.stat().st_size, **dict.fromkeys(_FACTS)}
    try:
        with within(TO_SUMMARIZE, path, "info"), open_bundle(path) as bundle:
            manifest = bundle.manifest()
    except GencoreError as error:
        return {**row, "error": describe_error(error)}
    pid = ManifestValue(manifest)["process"]["pid"].amount
    return {
        **row,
        "created_at": _instant(fact(manifest, "created_at")),
        "result": fact(manifest, "status", "result"),
        "pid": None if pid is None else int(pid),
        "service": service_of(manifest),
        "reason": fact(manifest, "trigger", "reason"),
        "title": fact(manifest, "process", "title"),
    }


def _facts(row: Row) -> str:
    if row["error"]:
        return str(row["error"]["message"]).removeprefix(f"{row['path']}: ")
    facts = (row["result"], row["pid"], row["service"] or row["title"], row["reason"])
    return "  ".join(str(known) for known in facts if known is not None)


def _print(size: int, when: datetime | None, path: object, facts: str) -> None:
    columns = f"{size_text(size):>10}  {'' if when is None else f'{when:%FT%T}':<19}"
    click.echo(f"{columns}  {escape_unprintable(str(path))}  {escape_unprintable(facts)}")
