"""``gencore stacks``: the Python stacks in a bundle, from pystack or from the manifest."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedBundle
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.reader import BundleReader
from gencore.bundle.source_lines import SourceLines
from gencore.cli.bundle import open_bundle, unpack_bundle
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.errors import IntegrityError

__all__ = ["stacks_command"]

_PYTHON_FRAME: Final = re.compile(r'    \(Python\) File "(.+)", line (\d{1,9}), in ')
_SOURCE_LINE: Final = " " * 8
"""The indentation of pystack's source lines."""
_PYSTACK: Final = """
import runpy, types
import pystack.traceback_formatter as formatter
formatter.os = types.SimpleNamespace(path=types.SimpleNamespace(exists=lambda path: False))
runpy.run_module("pystack", run_name="__main__", alter_sys=True)
"""
"""pystack without its source lines: it would print those of any file here that the core names."""
_DEBUGINFOD: Final = "DEBUGINFOD_URLS"
"""Where pystack would ask for what the build IDs in the core name."""
_MISSING: Final = (
    "pystack is not installed: showing the stacks that the manifest recorded at the instant.\n"
    "To read them from the core, and for --native: pip install 'gencore[analysis]'"
)


@click.command("stacks")
@bundle_argument
@click.option("--native", is_flag=True, help="Merge in the native frames.")
@quiet_option
@json_option
def stacks_command(*, path: Path, native: bool, quiet: bool, as_json: bool) -> None:
    """Show the Python stack of every thread.

    \b
    Examples:
      gencore stacks BUNDLE
      gencore stacks --native BUNDLE
    """
    with open_bundle(path) as bundle:
        if importlib.util.find_spec("pystack") is None:
            _show_recorded(bundle, as_json=as_json)
            return
        with unpack_bundle(bundle, quiet=quiet) as copy:
            text = _with_sources(_run_pystack(copy, native=native), SourceLines(bundle))
    if as_json:
        print_json({"source": "pystack", "text": text})
    else:
        click.echo(text)


def _run_pystack(copy: UnpackedBundle, *, native: bool) -> str:
    command = [sys.executable, "-c", _PYSTACK, "--no-color", "core"]
    command += [*(["--native"] if native else []), "--lib-search-root", str(copy.folder)]
    command += [str(copy.core), str(copy.executable)]
    environment = {name: value for name, value in os.environ.items() if name != _DEBUGINFOD}
    done = subprocess.run(  # noqa: S603 - no shell
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise IntegrityError(f"pystack cannot read the core: {done.stderr.strip()[-500:]}")
    return done.stdout


def _with_sources(text: str, sources: SourceLines) -> str:
    """Add the bundle's source lines."""
    shown_lines = []
    for line in text.splitlines():
        shown_lines.append(escape_unprintable(line))
        frame = _PYTHON_FRAME.match(line)
        source = sources.find(frame[1], int(frame[2])) if frame else None
        if source is not None:
            shown_lines.append(_SOURCE_LINE + escape_unprintable(source))
    return "\n".join(shown_lines)


def _show_recorded(bundle: BundleReader, *, as_json: bool) -> None:
    threads = bundle.manifest().get("threads")
    rows = [row for row in threads if isinstance(row, dict)] if isinstance(threads, list) else []
    if as_json:
        print_json({"source": "manifest", "threads": rows})
        return
    click.echo(_MISSING, err=True)
    sources = SourceLines(bundle)
    for row in rows:
        for line in _lines(ManifestValue(row), sources):
            click.echo(escape_unprintable(line))


def _lines(row: ManifestValue, sources: SourceLines) -> Iterator[str]:
    python = row["python"]
    yield f"Thread {row['tid'].text} {python['name'].text or row['name'].text}"
    for frame in reversed(python["frames"].rows):
        yield f"    {frame['function'].text} ({frame['file'].text}:{frame['line'].text})"
        if source := sources.find(frame["file"].text or "", frame["line"].number):
            yield f"        {source}"
