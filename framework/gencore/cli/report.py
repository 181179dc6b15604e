"""``gencore report``: a bundle, a core or a manifest as one HTML file."""

import errno
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any, Final

import click

from gencore._escaping import escape_unprintable, quote_path
from gencore._overview import make_overview
from gencore._private_directory import NEW_FILE
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.codecs import CODECS
from gencore.bundle.manifest import LARGEST_MANIFEST, ManifestValue, parse_manifest
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.diff import read_growth
from gencore.cli.json_output import print_json
from gencore.cli.options import BUNDLE, bundle_argument, json_option, quiet_option
from gencore.cli.reader_process import ask
from gencore.cli.task_rows import rows_from_core
from gencore.cli.task_tree import task_lines
from gencore.cli.why import why_of
from gencore.errors import OutputError, UsageError

__all__ = ["report"]

_MOST_GROWN: Final = 20
"""Types that have grown."""
_OBJECT: Final = b"{"
"""How a manifest begins."""
_ENDINGS: Final = (
    *(f".{codec.extension}" for codec in CODECS),
    *(".manifest.json", ".json", ".core", ".core.gz", ".core.zst"),
)
_STANDARD_OUTPUT: Final = Path("-")


@click.command()
@bundle_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="File to write, - for standard output; default: the bundle's name with .html, here.",
)
@click.option(
    "--against",
    type=BUNDLE,
    metavar="BEFORE",
    help="Show too which objects have become more since an earlier dump.",
)
@click.option("--no-core", is_flag=True, help="Show only what the manifest recorded.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@quiet_option
@json_option
@limited
def report(
    *,
    path: Path,
    output: Path | None,
    against: Path | None,
    no_core: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write a bundle, a core or a manifest as one HTML file.

    It begins with what 'gencore why' reads from the core. The file opens in any browser, and needs
    no network. BUNDLE may also be a manifest.json.

    \b
    Examples:
      gencore report BUNDLE
      gencore report --force -o report.html BUNDLE
      gencore report --against BEFORE BUNDLE
    """
    from gencore.html_report import render

    if output == _STANDARD_OUTPUT and as_json:
        raise UsageError("-o - takes no --json")
    if against is not None and no_core:
        raise UsageError("--against takes no --no-core")
    shown = _read(path, with_core=not no_core, quiet=quiet)
    growth = None
    if against is not None:
        growth = read_growth(against, path, _MOST_GROWN, keep=False, quiet=quiet)
    page = render(**shown, growth=growth).encode()
    if output == _STANDARD_OUTPUT:
        sys.stdout.buffer.write(page)
        return
    written = output or Path(_stem(path) + ".html")
    _write(written, page, force=force)
    if as_json:
        print_json({"path": written, "size": len(page)})
    else:
        click.echo(f"report     {escape_unprintable(str(written))} ({len(page) / 2**10:.0f} KiB)")


def _stem(path: Path) -> str:
    name = "stdin" if str(path) == "-" else path.resolve().name
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending)


def _read(path: Path, *, with_core: bool, quiet: bool) -> dict[str, Any]:
    """Read what `render` takes of what has a core, or of a manifest alone."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(1) == _OBJECT or path.suffix == ".json":
                    file.seek(0)
                    return {"manifest": parse_manifest(file.read(LARGEST_MANIFEST + 1))}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    with open_input(path) as opened:
        facts, sources = opened.facts(), SourceLines(opened)
        shown = {"manifest": facts, "lines": sources.of_stacks(facts)}
        if not with_core:
            return shown
        with unpack(opened, keep=False, quiet=quiet) as copy:
            overview = make_overview(facts, why_of(copy), sources.find, quote_path(path))
            tree = _task_tree(copy, sources) if overview.tasks else []
        return {**shown, "overview": overview, "task_tree": tree}


def _task_tree(copy: UnpackedCore, sources: SourceLines) -> list[str]:
    """Return the lines that ``gencore tasks`` shows of asyncio; none if that fails."""
    rows = rows_from_core(ManifestValue(ask("tasks", copy).value), sources)
    return list(task_lines(rows, each=False))


def _write(path: Path, page: bytes, *, force: bool) -> None:
    """Write the page, readable by this user only. *force* replaces an existing file atomically.

    Never a device or a pipe: the rename would remove it from the machine.
    """
    if force and _is_special(path):
        raise OutputError(
            str(path), errno.EEXIST, "not a regular file", remedy="choose another file"
        )
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        _write_new(beside if force else path, page)
        if force:
            beside.replace(path)
    except OSError as error:
        raise _refusal(path, error) from error


def _is_special(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:  # if it matters, writing the file fails too
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def _write_new(path: Path, page: bytes) -> None:
    """Create the file, which must not exist; leave nothing behind if it cannot be written."""
    with os.fdopen(os.open(path, os.O_WRONLY | NEW_FILE, 0o600), "wb") as file:
        try:
            file.write(page)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _refusal(path: Path, error: OSError) -> OutputError:
    code = error.errno or errno.EIO
    if code == errno.EEXIST:
        return OutputError(
            str(path), code, "already exists", remedy="choose another file, or use --force"
        )
    return OutputError(str(path), code, os.strerror(code), remedy="choose another file")
