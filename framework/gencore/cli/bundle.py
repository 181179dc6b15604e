"""``gencore info | verify | extract``: the content of a bundle, without a debugger."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore._quantities import size_text
from gencore.bundle.cache import UnpackedBundle, unpacked
from gencore.bundle.extraction import extract
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.reader import BundleReader
from gencore.bundle.verification import Check, verify
from gencore.cli import progress
from gencore.cli.budget import limited
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.errors import IntegrityError, OutputError

__all__ = [
    "extract_command",
    "fact",
    "info_command",
    "open_bundle",
    "service_of",
    "unpack_bundle",
    "verify_command",
]

_LONGEST: Final = 200
"""Characters of a field that are shown."""

_SHOWN: Final = attrs.filters.include("path", "size", "offset", "sha256")
"""What `info --json` shows of each file."""


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


def fact(manifest: Mapping[str, Any], *path: str) -> str | None:
    """Return a field of an untrusted manifest, safe to print on a terminal."""
    text = reduce(ManifestValue.__getitem__, path, ManifestValue(manifest)).text
    return None if text is None else escape_unprintable(text[:_LONGEST])


def service_of(manifest: Mapping[str, Any]) -> str | None:
    """Return the name of the service: what the caller called it, or else its environment."""
    return fact(manifest, "annotations", "service") or fact(manifest, "service", "name")


@click.command("info")
@bundle_argument
@click.option("--files", is_flag=True, help="List every file in the bundle.")
@json_option
@limited
def info_command(*, path: Path, files: bool, as_json: bool) -> None:
    """Summarize a bundle, without decompressing its core.

    \b
    Examples:
      gencore info BUNDLE
      gencore info --files BUNDLE
    """
    with open_bundle(path) as bundle:
        manifest = bundle.manifest()
        if as_json:
            members = [
                attrs.asdict(member, filter=_SHOWN) | {"tree_sha256": member.tree}
                for member in bundle.members
            ]
            print_json({"manifest": manifest, "members": members})
            return
        for label, text in _facts(manifest):
            click.echo(f"{label:<12}{text}")
        click.echo(f"{'files':<12}{len(bundle.members)}")
        for member in bundle.members if files else ():
            click.echo(f"{size_text(member.size):>14}  {escape_unprintable(member.path)}")


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each: whose bundle it is and why first, then what it is."""
    yield "service", service_of(manifest) or "unknown"
    for label, *where in _FACTS:
        yield label, fact(manifest, *where) or "unknown"
    for key, value in ManifestValue(manifest)["annotations"].entries:
        yield "annotation", escape_unprintable(f"{key}: {value}"[:_LONGEST])


_FACTS: Final = (
    ("reason", "trigger", "reason"),
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
@quiet_option
@json_option
@limited
def verify_command(*, path: Path, quiet: bool, as_json: bool) -> None:
    """Check every hash, the core, and that no library is missing.

    \b
    Examples:
      gencore verify BUNDLE
    """
    with open_bundle(path) as bundle, _progress_of(bundle, quiet=quiet) as count:
        checks = verify(bundle, count)
    if as_json:
        print_json({"ok": all(check.ok for check in checks), "checks": _as_rows(checks)})
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
@quiet_option
@json_option
@limited
def extract_command(
    *, path: Path, names: tuple[str, ...], directory: Path, quiet: bool, as_json: bool
) -> None:
    """Unpack a bundle, or only the files NAMES.

    \b
    Examples:
      gencore extract BUNDLE -o /var/tmp
      gencore extract BUNDLE manifest.json
    """
    with open_bundle(path) as bundle, _progress_of(bundle, quiet=quiet) as count:
        folder = extract(bundle, directory, names, count)
    if as_json:
        print_json({"path": folder})
    else:
        click.echo(str(folder))
