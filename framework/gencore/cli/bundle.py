"""``gencore list | info | verify | extract``: the content of bundles, without a debugger."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore._final_directory import OWN_DIRECTORIES
from gencore._settings.sources import resolve_settings
from gencore.bundle.cache import UnpackedBundle, unpacked
from gencore.bundle.extraction import extract
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.reader import BundleReader
from gencore.bundle.verification import Check, verify
from gencore.cli import progress
from gencore.cli.budget import TO_SUMMARIZE, limited, no_limits_option, within
from gencore.cli.leftovers import find_leftovers
from gencore.cli.options import bundle_argument, json_option
from gencore.errors import GencoreError, IntegrityError, OutputError

__all__ = [
    "extract_command",
    "info_command",
    "list_command",
    "open_bundle",
    "unpack_bundle",
    "verify_command",
]

_SUFFIX: Final = ".tar.gz"
_LONGEST: Final = 200
"""Characters of a field that are shown."""


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleReader]:
    """Open a bundle that the user named. Raises `OutputError` if it cannot be read."""
    try:
        bundle = BundleReader(path)
    except OSError as error:
        remedy = "pass a bundle: a .tar.gz file written by gencore"
        raise OutputError(str(path), error.errno or 0, "cannot be read", remedy=remedy) from error
    with bundle:
        yield bundle


@contextmanager
def unpack_bundle(bundle: BundleReader, *, quiet: bool) -> Iterator[UnpackedBundle]:
    """Yield the bundle's copy in the cache; show progress while it is unpacked."""
    with ExitStack() as use:
        with _progress_of(bundle, quiet=quiet) as count:
            copy = use.enter_context(unpacked(bundle, count))
        yield copy


@contextmanager
def _progress_of(bundle: BundleReader, *, quiet: bool) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal; yield the function that takes the bytes of each step."""
    total = sum(member.size for member in bundle.members)
    with progress.counting(total, shown=not quiet and sys.stderr.isatty()) as count:
        yield count


@click.command("list")
@click.argument(
    "directory", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False
)
@click.option("--all", "every", is_flag=True, help="Also what unfinished dumps are made in.")
@json_option
@no_limits_option
def list_command(*, directory: Path | None, every: bool, as_json: bool) -> None:
    """List the bundles in a directory, oldest first.

    Without DIRECTORY those where dumps go: GENCORE_DIRECTORY, else as in GENCORE_CONFIG, else the
    current directory.

    Includes those in the per-user directories (gencore-UID) that gencore creates inside a
    directory in which other users can rename files.

    With --all also the private directories of dumps: of those that go on ("in use"), of those
    that were killed ("dead"), which the next dump removes, and of those of which this machine
    cannot know ("unknown"), which it removes when they are a week old.
    """
    place = Path(directory or resolve_settings({}).directory or ".")
    places = (place, *place.glob(OWN_DIRECTORIES))
    found = (path for each in places for path in each.glob(f"*{_SUFFIX}"))
    rows = [_row(path) for path in sorted(found) if path.is_file()]
    rows.sort(key=lambda row: row["created_at"] or "")
    unfinished = list(find_leftovers(place)) if every else []
    if as_json:
        more = {"leftovers": unfinished} if every else {}
        click.echo(json.dumps({"bundles": rows, **more}, indent=1))
        return
    for row in rows:
        facts = row["error"] or f"{row['result']}  {row['pid']}  {row['title']}"
        when = row["created_at"] or ""
        path = escape_unprintable(row["path"])
        click.echo(f"{_size(row['size']):>10}  {when:<19.19}  {path}  {escape_unprintable(facts)}")
    for row in unfinished:
        path = escape_unprintable(row["path"])
        click.echo(f"{_size(row['size']):>10}  {row['used_at']:<19.19}  {path}  {row['state']}")


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("created_at", "result", "pid", "title", "error"))
    row = {"path": str(path), "size": path.stat().st_size, **row}
    try:
        with within(TO_SUMMARIZE, path), open_bundle(path) as bundle:
            manifest = bundle.manifest()
    except GencoreError as error:
        return {**row, "error": error.message}
    return {
        **row,
        "created_at": _text(manifest, "created_at"),
        "result": _text(manifest, "status", "result"),
        "pid": ManifestValue(manifest)["process"]["pid"].number,
        "title": _text(manifest, "process", "title"),
    }


def _text(manifest: Mapping[str, Any], *path: str) -> str | None:
    """Return a field of an untrusted manifest, safe to print on a terminal."""
    text = reduce(ManifestValue.__getitem__, path, ManifestValue(manifest)).text
    return None if text is None else escape_unprintable(text[:_LONGEST])


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


@click.command("info")
@bundle_argument
@click.option("--files", is_flag=True, help="List every file in the bundle.")
@json_option
@limited
def info_command(*, path: Path, files: bool, as_json: bool) -> None:
    """Summarize a bundle, without decompressing its core."""
    with open_bundle(path) as bundle:
        manifest = bundle.manifest()
        if as_json:
            members = [attrs.asdict(member) for member in bundle.members]
            click.echo(json.dumps({"manifest": manifest, "members": members}, indent=1))
            return
        for label, *where in _FACTS:
            click.echo(f"{label:<12}{_text(manifest, *where) or 'unknown'}")
        click.echo(f"{'files':<12}{len(bundle.members)}")
        for member in bundle.members if files else ():
            click.echo(f"{_size(member.size):>14}  {escape_unprintable(member.path)}")


_FACTS: Final = (
    ("name", "name"),
    ("created at", "created_at"),
    ("result", "status", "result"),
    ("backend", "tool", "backend", "name"),
    ("pause, ms", "status", "pause_ms"),
    ("process", "process", "pid"),
    ("title", "process", "title"),
    ("executable", "process", "executable", "path"),
    ("python", "runtime", "version"),
    ("host", "host", "name"),
    ("core, bytes", "core", "size"),
    ("content", "core", "content"),
    ("threads", "core", "threads"),
)


@click.command("verify")
@bundle_argument
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
@limited
def verify_command(*, path: Path, quiet: bool, as_json: bool) -> None:
    """Check every hash, the core, and that no library is missing."""
    with open_bundle(path) as bundle, _progress_of(bundle, quiet=quiet) as count:
        checks = verify(bundle, count)
    if as_json:
        outcome = {"ok": all(check.ok for check in checks), "checks": _as_rows(checks)}
        click.echo(json.dumps(outcome, indent=1))
    else:
        for check in checks:
            click.echo(f"{check.name:<12}{'ok' if check.ok else 'WRONG'}")
            for problem in check.problems:
                click.echo(f"            {escape_unprintable(problem)}")
    if not all(check.ok for check in checks):
        raise SystemExit(IntegrityError.exit_code)


def _as_rows(checks: tuple[Check, ...]) -> list[dict[str, Any]]:
    return [{"name": c.name, "ok": c.ok, "problems": list(c.problems)} for c in checks]


@click.command("extract")
@bundle_argument
@click.argument("names", nargs=-1)
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path),
    default=".",
    help="Where to create the bundle's folder; default: the current directory.",
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
@limited
def extract_command(
    *, path: Path, names: tuple[str, ...], directory: Path, quiet: bool, as_json: bool
) -> None:
    """Unpack a bundle, or only the files NAMES."""
    with open_bundle(path) as bundle, _progress_of(bundle, quiet=quiet) as count:
        folder = extract(bundle, directory, names, count)
    click.echo(json.dumps({"path": str(folder)}) if as_json else str(folder))
