"""``gencore stacks``: the stack of each thread, from the core or from the manifest."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gencore._confinement.confining import Confinement
from gencore._confinement.running import Outcome, run_reader
from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited, limits_apply
from gencore.cli.bundle import open_input, unpack, why_no_executable
from gencore.cli.errors import print_gap
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.cli.thread_stacks import (
    ThreadStack,
    stack_lines,
    stacks_from_core,
    stacks_from_manifest,
)
from gencore.errors import ExitCode, IntegrityError, UsageError

__all__ = ["stacks_command"]

_READER: Final = Path(__file__).with_name("pystack_process.py")
_START: Final = """
import runpy, site, sys
sys.path.append(sys.argv.pop(1))
site.main()
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""The reader with pystack as it was found here, whatever else is installed or lies around."""
_OUTPUT: Final = 16 << 20
"""Bytes that pystack may print."""
_MEMORY: Final = 4 << 30
"""Bytes of address space that pystack may have beside what depends on the core."""
_SECONDS: Final = 120
"""Of CPU time that pystack may take beside what depends on the core."""
_SIZE_PER_SECOND: Final = 16 << 20
"""Bytes of a core that take pystack less than a second."""
_INSTALL: Final = "pip install 'gencore[analysis]'"
_MISSING: Final = "pystack is not installed"


@click.command("stacks")
@bundle_argument
@click.option("--native", is_flag=True, help="Merge in the native frames.")
@click.option("--keep", is_flag=True, help="Keep the unpacked copy, for the next command.")
@quiet_option
@json_option
@limited
def stacks_command(*, path: Path, native: bool, keep: bool, quiet: bool, as_json: bool) -> int:
    """Show the Python stack of every thread.

    They are read from the core by pystack, confined. If it fails, those that the manifest recorded
    at the instant are shown, and the exit code is 3.

    \b
    Examples:
      gencore stacks BUNDLE
      gencore stacks --native BUNDLE
    """
    packages = _packages()
    if native and packages is None:
        raise UsageError("--native needs pystack, which is not installed", remedy=_INSTALL)
    with open_input(path) as opened:
        threads, sources = ManifestValue(opened.facts())["threads"], SourceLines(opened)
        rows, failure = None, _MISSING
        if packages is not None:
            with unpack(opened, keep=keep, quiet=quiet) as copy:
                rows, failure = _read_core(packages, opened, copy, native=native)
        if rows is not None:
            stacks = stacks_from_core(ManifestValue(rows), threads, sources)
        else:
            _explain(opened, failure, installed=packages is not None, quiet=quiet)
            stacks = stacks_from_manifest(threads, sources)
    reason = None if rows is not None else escape_unprintable(failure)
    _show(stacks, reason, native=native, as_json=as_json)
    return ExitCode.COMPLETE if rows is not None or packages is None else ExitCode.PARTIAL


def _packages() -> Path | None:
    """Return where pystack is installed, or None."""
    found = importlib.util.find_spec("pystack")
    return None if found is None or found.origin is None else Path(found.origin).parents[1]


def _explain(opened: OpenedCore, failure: str, *, installed: bool, quiet: bool) -> None:
    """Say why the stacks are not from the core. Raises `IntegrityError` if there are no others."""
    remedy = None if installed else _INSTALL
    if not opened.has_manifest:
        raise (IntegrityError if installed else UsageError)(
            f"core file {opened.path}: {failure}", remedy=remedy
        )
    if quiet and not installed:
        return
    failure = escape_unprintable(failure)
    click.echo(f"gencore: {failure}: showing the stacks that the manifest recorded", err=True)
    if remedy is not None:
        click.echo(f"  remedy: {remedy}", err=True)


def _read_core(
    packages: Path, opened: OpenedCore, copy: UnpackedCore, *, native: bool
) -> tuple[Any, str]:
    """Return the rows that pystack read; None, and why, if it failed."""
    if copy.executable is None:
        remedy = "extract the core where it was made, and open that: gencore extract CORE"
        raise IntegrityError(
            f"core file {opened.path}: {why_no_executable(opened)}", remedy=remedy
        )
    outcome = _run_pystack(packages, copy, native=native)
    for gap in outcome.gaps:
        print_gap(gap)
    if outcome.failure is not None:
        return None, outcome.failure
    try:
        return json.loads(outcome.output), ""
    except (ValueError, RecursionError) as error:
        return None, f"pystack printed no JSON: {error}"


def _run_pystack(packages: Path, copy: UnpackedCore, *, native: bool) -> Outcome:
    command = [sys.executable, "-I", "-S", "-c", _START, str(packages), str(_READER)]
    command += [str(copy.core), str(copy.executable), str(copy.folder), "native" if native else ""]
    if not limits_apply():
        return run_reader("pystack", command, None, None)
    size = copy.core.stat().st_size
    cpu_seconds = _SECONDS + size // _SIZE_PER_SECOND
    limits = {"cpu_seconds": cpu_seconds, "memory": _MEMORY + 4 * size, "output": _OUTPUT}
    confinement = Confinement.of(sys.executable, copy.readable, [packages, _READER], **limits)
    return run_reader("pystack", command, confinement, 60 + 4 * cpu_seconds)


def _show(stacks: list[ThreadStack], reason: str | None, *, native: bool, as_json: bool) -> None:
    if as_json:
        rows = [attrs.asdict(stack) for stack in stacks]
        source = "core" if reason is None else "manifest"
        print_json({"source": source, "reason": reason, "native": native, "threads": rows})
        return
    for line in _text(stacks, native=native):
        click.echo(escape_unprintable(line))


def _text(stacks: list[ThreadStack], *, native: bool) -> Iterator[str]:
    for number, stack in enumerate(stacks):
        if number:
            yield ""
        yield from stack_lines(stack)
        if native and not stack.has_native:
            yield "    (its native frames cannot be merged in: too little is known of them)"
