"""``gencore stacks``: the stack of each thread, from the core or from the manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack, why_no_executable
from gencore.cli.deadlocks import (
    Deadlock,
    deadlock_lines,
    deadlocks_from_core,
    read_deadlocks,
)
from gencore.cli.errors import print_gap
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.cli.reader_process import place_of, read_confined
from gencore.cli.thread_stacks import (
    ThreadStack,
    stack_lines,
    stacks_from_core,
    stacks_from_manifest,
)
from gencore.errors import ExitCode, IntegrityError, UsageError

__all__ = ["stacks_command"]

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
    at the instant are shown, and the exit code is 3. Threads that wait for each other's locks,
    a deadlock, are named at the end.

    \b
    Examples:
      gencore stacks BUNDLE
      gencore stacks --native BUNDLE
    """
    installed = place_of("pystack") is not None
    if native and not installed:
        raise UsageError("--native needs pystack, which is not installed", remedy=_INSTALL)
    with open_input(path) as opened:
        threads, sources = ManifestValue(opened.facts())["threads"], SourceLines(opened)
        rows, failure, cycles = None, _MISSING, None
        if installed:
            with unpack(opened, keep=keep, quiet=quiet) as copy:
                rows, failure = _read_core(opened, copy, native=native)
                cycles = read_deadlocks(copy)
        if rows is not None:
            stacks = stacks_from_core(ManifestValue(rows), threads, sources)
        else:
            _explain(opened, failure, installed=installed, quiet=quiet)
            stacks = stacks_from_manifest(threads, sources)
    reason = None if rows is not None else escape_unprintable(failure)
    deadlocks = None if cycles is None else deadlocks_from_core(ManifestValue(cycles), stacks)
    _show(stacks, deadlocks, reason, native=native, as_json=as_json)
    return ExitCode.COMPLETE if rows is not None or not installed else ExitCode.PARTIAL


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


def _read_core(opened: OpenedCore, copy: UnpackedCore, *, native: bool) -> tuple[Any, str]:
    """Return the rows that pystack read; None, and why, if it failed."""
    if copy.executable is None:
        remedy = "extract the core where it was made, and open that: gencore extract CORE"
        raise IntegrityError(
            f"core file {opened.path}: {why_no_executable(opened)}", remedy=remedy
        )
    arguments = (str(copy.executable), str(copy.folder), "native" if native else "")
    program = Path(__file__).with_name("pystack_process.py")
    reading = read_confined("pystack", program, ["pystack"], copy, *arguments)
    for gap in reading.gaps:
        print_gap(gap)
    return reading.value, reading.failure


def _show(
    stacks: list[ThreadStack],
    deadlocks: tuple[Deadlock, ...] | None,
    reason: str | None,
    *,
    native: bool,
    as_json: bool,
) -> None:
    if as_json:
        shown = {
            "source": "core" if reason is None else "manifest",
            "reason": reason,
            "native": native,
            "threads": [attrs.asdict(stack) for stack in stacks],
            "deadlocks": _as_rows(deadlocks),
        }
        print_json(shown)
        return
    for line in _text(stacks, native=native):
        click.echo(escape_unprintable(line))
    for line in deadlock_lines(deadlocks or (), stacks):
        click.echo("\n" + escape_unprintable(line))


def _as_rows(deadlocks: tuple[Deadlock, ...] | None) -> list[list[dict[str, Any]]] | None:
    return deadlocks if deadlocks is None else [list(map(attrs.asdict, d)) for d in deadlocks]


def _text(stacks: list[ThreadStack], *, native: bool) -> Iterator[str]:
    for number, stack in enumerate(stacks):
        if number:
            yield ""
        yield from stack_lines(stack)
        if native and not stack.has_native:
            yield "    (its native frames cannot be merged in: too little is known of them)"
