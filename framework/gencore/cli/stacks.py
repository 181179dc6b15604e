"""``gencore stacks``: the Python stacks in a bundle, from pystack or from the manifest."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gencore._confinement.confining import Confinement
from gencore._confinement.running import Outcome, run_reader
from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedBundle
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.reader import BundleReader
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited, limits_apply
from gencore.cli.bundle import open_bundle, unpack_bundle
from gencore.cli.errors import print_gap
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.errors import ExitCode

__all__ = ["stacks_command"]

_PYTHON_FRAME: Final = re.compile(r'    \(Python\) File "(.+)", line (\d{1,9}), in ')
_SOURCE_LINE: Final = " " * 8
"""The indentation of pystack's source lines."""
_PYSTACK: Final = """
import runpy, site, sys, types
sys.path.append(sys.argv.pop(1))
site.main()
import pystack.traceback_formatter as formatter
formatter.os = types.SimpleNamespace(path=types.SimpleNamespace(exists=lambda path: False))
runpy.run_module("pystack", run_name="__main__", alter_sys=True)
"""
"""pystack as it was found here, whatever else is installed or lies in the core's directory.

Without its source lines: it would print those of files here that the core names.
"""
_OUTPUT: Final = 16 << 20
"""Bytes that pystack may print."""
_MEMORY: Final = 4 << 30
"""Bytes of address space that pystack may have beside what depends on the core."""
_SECONDS: Final = 120
"""Of CPU time that pystack may take beside what depends on the core."""
_SIZE_PER_SECOND: Final = 16 << 20
"""Bytes of a core that take pystack less than a second."""
_MISSING: Final = (
    "pystack is not installed",
    "remedy: pip install 'gencore[analysis]'",
)


@click.command("stacks")
@bundle_argument
@click.option("--native", is_flag=True, help="Merge in the native frames.")
@quiet_option
@json_option
@limited
def stacks_command(*, path: Path, native: bool, quiet: bool, as_json: bool) -> int:
    """Show the Python stack of every thread.

    They are read from the core by pystack, confined. If it fails, those that the manifest recorded
    at the instant are shown, and the exit code is 3.

    \b
    Examples:
      gencore stacks BUNDLE
      gencore stacks --native BUNDLE
    """
    with open_bundle(path) as bundle:
        pystack = importlib.util.find_spec("pystack")
        if pystack is None or pystack.origin is None:
            _show_recorded(bundle, *_MISSING, as_json=as_json)
            return ExitCode.COMPLETE
        with unpack_bundle(bundle, quiet=quiet) as copy:
            outcome = _run_pystack(Path(pystack.origin).parents[1], copy, native=native)
        for gap in outcome.gaps:
            print_gap(gap)
        if outcome.failure is not None:
            _show_recorded(bundle, outcome.failure, as_json=as_json)
            return ExitCode.PARTIAL
        text = _with_sources(outcome.output, SourceLines(bundle))
    if as_json:
        print_json({"source": "pystack", "text": text})
    else:
        click.echo(text)
    return ExitCode.COMPLETE


def _run_pystack(packages: Path, copy: UnpackedBundle, *, native: bool) -> Outcome:
    command = [sys.executable, "-I", "-S", "-c", _PYSTACK, str(packages), "--no-color", "core"]
    command += [*(["--native"] if native else []), "--lib-search-root", str(copy.folder)]
    command += [str(copy.core), str(copy.executable)]
    if not limits_apply():
        return run_reader("pystack", command, None, None)
    size = copy.core.stat().st_size
    cpu_seconds = _SECONDS + size // _SIZE_PER_SECOND
    limits = {"cpu_seconds": cpu_seconds, "memory": _MEMORY + 4 * size, "output": _OUTPUT}
    confinement = Confinement.of(sys.executable, [copy.folder], [packages], **limits)
    return run_reader("pystack", command, confinement, 60 + 4 * cpu_seconds)


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


def _show_recorded(bundle: BundleReader, why: str, hint: str = "", *, as_json: bool) -> None:
    threads = bundle.manifest().get("threads")
    rows = [row for row in threads if isinstance(row, dict)] if isinstance(threads, list) else []
    why = escape_unprintable(why)
    click.echo(f"gencore: {why}: showing the stacks that the manifest recorded", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    if as_json:
        print_json({"source": "manifest", "reason": why, "threads": rows})
        return
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
