"""``gencore info | verify | extract``: the content of a bundle, without a debugger."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable, quote_path
from gencore._quantities import read_size, size_text
from gencore.bundle.cache import UnpackedCore, unpacked
from gencore.bundle.extraction import extract
from gencore.bundle.huge_pages import huge_pages_line
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.opening import open_core
from gencore.bundle.reader import BundleReader
from gencore.bundle.verification import Check
from gencore.cli import progress
from gencore.cli.budget import limited, max_size_of, max_stream
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.errors import GencoreError, IntegrityError, OutputError, UsageError

__all__ = [
    "extract_command",
    "fact",
    "info_command",
    "open_bundle",
    "open_input",
    "service_of",
    "unpack",
    "verify_command",
    "why_no_executable",
]

_LONGEST: Final = 200
"""Characters of a field that are shown."""
_MOST_THREADS: Final = 100
"""Threads whose IDs are shown; JSON has all."""

_SHOWN: Final = attrs.filters.include("path", "size", "offset", "sha256")
"""What `info --json` shows of each file."""


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleReader]:
    """Open a bundle that the user named. Raises `OutputError` if it cannot be read."""
    try:
        bundle = BundleReader(path)
    except OSError as error:
        remedy = "pass a bundle: a file written by gencore"
        raise OutputError(str(path), error.errno or 0, "cannot be read", remedy=remedy) from error
    with bundle:
        yield bundle


@contextmanager
def open_input(path: Path) -> Iterator[OpenedCore]:
    """Open what the user named: see `open_core`. Raises `OutputError` if it cannot be read."""
    with ExitStack() as use:
        try:
            opened = use.enter_context(open_core(path, max_stream=max_stream()))
        except OSError as error:
            if isinstance(error, GencoreError):
                raise
            if error.errno is None:  # see `open_regular`
                name = click.get_current_context().command.name
                remedy = f"gencore {name} - < {quote_path(path)}"
                raise UsageError(str(error), remedy=remedy) from error
            remedy = "pass a bundle, a core, or a directory that was extracted"
            raise OutputError(str(path), error.errno, "cannot be read", remedy=remedy) from error
        yield opened


@contextmanager
def unpack(opened: OpenedCore, *, keep: bool, quiet: bool) -> Iterator[UnpackedCore]:
    """Yield its copy in the cache; show progress while it is made, and where it stays."""
    with ExitStack() as use:
        with _progress_of(opened, quiet=quiet) as count:
            size = max_size_of(opened.path)
            copy = use.enter_context(unpacked(opened, count, keep=keep, max_size=size))
        if keep and copy.copy is not None and not quiet:
            place = escape_unprintable(str(copy.copy))
            click.echo(f"unpacked   {place}; to remove it: gencore cache clear", err=True)
        yield copy


def _signal_name(number: float) -> str:
    return next((s.name for s in signal.Signals if s == number), str(number))


def why_no_executable(opened: OpenedCore) -> str:
    """Return which executable a core alone lacks, and why."""
    path = ManifestValue(opened.facts())["process"]["executable"]["path"].text
    reasons = {file.path: file.reason for file in opened.mapped_files()}
    return f"the executable is missing: {path or 'unknown'}: {reasons.get(path or '', 'unknown')}"


@contextmanager
def _progress_of(opened: OpenedCore, *, quiet: bool) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal; yield the function that takes the bytes of each step.

    An error of the bytes that are read meanwhile names the file: there may be two, or many.
    """
    total = sum(member.size for member in opened.members)
    try:
        with progress.counting(total, shown=not quiet and sys.stderr.isatty()) as count:
            yield count
    except IntegrityError as error:
        if str(opened.path) not in error.message:
            error.message = f"{opened.path}: {error.message}"
        raise


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
    """Summarize a bundle, or a core alone.

    The core in a bundle is not decompressed. Of a core alone it shows what the core says, which of
    the mapped files this machine has, and what a bundle would add.

    \b
    Examples:
      gencore info BUNDLE
      gencore info --files BUNDLE
    """
    with open_input(path) as opened:
        if as_json:
            print_json(_as_json(opened))
            return
        facts = opened.facts()
        for label, text in _facts(facts):
            if text is not None or opened.has_manifest:
                click.echo(f"{label:<12}{text or 'unknown'}")
        click.echo(f"{'files':<12}{len(opened.members)}")
        for member in opened.members if files else ():
            click.echo(f"{size_text(member.size):>14}  {escape_unprintable(member.path)}")
        if not opened.has_manifest:
            for line in _of_a_core(opened, facts, files=files):
                click.echo(escape_unprintable(line))


def _as_json(opened: OpenedCore) -> dict[str, Any]:
    facts = opened.facts()
    return {
        "kind": opened.kind,
        "manifest": facts if opened.has_manifest else None,
        "core": None if opened.has_manifest else facts,
        "members": [
            attrs.asdict(member, filter=_SHOWN) | {"tree_sha256": member.tree}
            for member in opened.members
        ],
        "mapped_files": [attrs.asdict(file) for file in opened.mapped_files()],
        "lacks": list(opened.lacks()),
    }


def _of_a_core(opened: OpenedCore, facts: Mapping[str, Any], *, files: bool) -> Iterator[str]:
    """Yield what only a core alone shows."""
    fields = ManifestValue(facts)
    if number := fields["trigger"]["signal"].number:
        yield f"{'signal':<12}{_signal_name(number)}"
    if flaw := fields["core"]["incomplete"].text:
        yield f"{'incomplete':<12}{flaw}"
    tids = ", ".join(str(row["tid"]) for row in fields["threads"].rows[:_MOST_THREADS])
    yield f"{'thread ids':<12}{tids}"
    for file in opened.mapped_files() if files else ():
        yield f"{file.origin:>14}  {file.path}{f': {file.reason}' if file.reason else ''}"
    for lack in opened.lacks():
        yield f"{'lacks':<12}{lack}"


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield a label and a text for each: whose bundle it is and why first, then what it is."""
    yield "service", service_of(manifest)
    for label, *where in _FACTS:
        yield label, fact(manifest, *where)
    if line := huge_pages_line(manifest):
        yield "huge pages", escape_unprintable(line[:_LONGEST])
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

    Of a core alone: whether it is truncated, and whether this machine has the files that it maps.

    \b
    Examples:
      gencore verify BUNDLE
    """
    with open_input(path) as opened, _progress_of(opened, quiet=quiet) as count:
        checks = opened.verify(count)
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
@click.option(
    "--max-size",
    metavar="SIZE",
    help="How much it may write, such as 20GiB; default: 64 times the bundle, and 4 GiB.",
)
@quiet_option
@json_option
@limited
def extract_command(
    *,
    path: Path,
    names: tuple[str, ...],
    directory: Path,
    max_size: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Unpack a bundle, or only the files NAMES.

    Of a core alone: the core, and the executable and libraries that this machine has of it. All
    commands read the folder too, on any machine.

    \b
    Examples:
      gencore extract BUNDLE -o /var/tmp
      gencore extract BUNDLE manifest.json
    """
    with open_input(path) as opened, _progress_of(opened, quiet=quiet) as count:
        size = max_size_of(opened.path) if max_size is None else read_size(max_size)
        folder = extract(opened, directory, names, count, max_size=size)
    if as_json:
        print_json({"path": folder})
    else:
        click.echo(str(folder))
