"""``gencore stacks``: the stack of each thread, from the core or from the manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack, why_no_executable
from gencore.cli.deadlocks import Deadlock, deadlock_lines, deadlocks_from_core
from gencore.cli.errors import print_gap, print_incomplete
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, keep_option, quiet_option
from gencore.cli.reader_process import Reading, ask, place_of, read_confined
from gencore.cli.thread_stacks import (
    ThreadStack,
    stack_lines,
    stacks_from_core,
    stacks_from_manifest,
    with_native_frames,
)
from gencore.errors import ExitCode, IntegrityError, UsageError

__all__ = ["stacks_command"]

_INSTALL: Final = "pip install 'gencore[analysis]'"


@click.command("stacks")
@bundle_argument
@click.option("--native", is_flag=True, help="Merge in the native frames, with pystack.")
@click.option("--locals", "variables", is_flag=True, help="Show arguments and local variables.")
@keep_option
@quiet_option
@json_option
@limited
def stacks_command(
    *, path: Path, native: bool, variables: bool, keep: bool, quiet: bool, as_json: bool
) -> int:
    """Show the Python stack of every thread.

    They are read from the core, confined. If that fails, those that the manifest recorded at the
    instant are shown; then, and if anything else of what was asked for may be missing, the exit
    code is 3. Threads that wait for each other's locks, a deadlock, are named at the end.

    \b
    Examples:
      gencore stacks BUNDLE
      gencore stacks --locals BUNDLE
      gencore stacks --native BUNDLE
    """
    if native and place_of("pystack") is None:
        raise UsageError("--native needs pystack, which is not installed", remedy=_INSTALL)
    with open_input(path) as opened:
        threads, sources = ManifestValue(opened.facts())["threads"], SourceLines(opened)
        with unpack(opened, keep=keep, quiet=quiet) as copy:
            reading = ask("stacks", copy, *(["locals"] if variables else []))
            merged = _read_native(opened, copy) if native and reading.value else None
        found = ManifestValue(reading.value)
        for gap in reading.gaps:
            print_gap(gap)
        if reading.value is None:
            _explain(opened, reading.failure)
            stacks = stacks_from_manifest(threads, sources)
        else:
            stacks = stacks_from_core(found["threads"], threads, sources)
            stacks = [_doubted(stack, reading.incomplete) for stack in stacks]
    if merged is not None and merged.value is not None:
        stacks = with_native_frames(stacks, ManifestValue(merged.value))
    failure = reading.failure or (merged.failure if merged else "")
    cycles = found["deadlocks"]
    unknown = reading.incomplete is not None and not cycles.rows
    deadlocks = None if unknown else deadlocks_from_core(cycles, stacks)
    shown = _Shown(
        source="manifest" if reading.value is None else "core",
        reason=escape_unprintable(failure) or None,
        native=native,
        threads=stacks,
        deadlocks=deadlocks,
        incomplete=reading.incomplete,
    )
    _show(shown, as_json=as_json)
    code = print_incomplete(reading.incomplete)
    whole = not failure and not any(stack.incomplete for stack in stacks)
    return code if whole else ExitCode.PARTIAL


def _doubted(stack: ThreadStack, incomplete: str | None) -> ThreadStack:
    """Return a stack; why it is unknown, if it is empty in an incomplete core."""
    return stack if stack.frames else attrs.evolve(stack, incomplete=incomplete)


def _explain(opened: OpenedCore, failure: str) -> None:
    """Say why the stacks are not from the core. Raises `IntegrityError` if there are no others."""
    if not opened.has_manifest:
        raise IntegrityError(f"core file {opened.path}: {failure}")
    failure = escape_unprintable(failure)
    click.echo(f"gencore: {failure}: showing the stacks that the manifest recorded", err=True)


def _read_native(opened: OpenedCore, copy: UnpackedCore) -> Reading:
    """Return the rows that pystack read, with native frames. Raises `IntegrityError`."""
    if copy.executable is None:
        remedy = "extract the core where it was made, and open that: gencore extract CORE"
        raise IntegrityError(
            f"core file {opened.path}: {why_no_executable(opened)}", remedy=remedy
        )
    arguments = (str(copy.executable), str(copy.folder))
    program = Path(__file__).with_name("pystack_process.py")
    reading = read_confined("pystack", program, ["pystack"], copy, *arguments)
    if reading.value is None:
        failure = escape_unprintable(reading.failure)
        click.echo(f"gencore: {failure}: showing the stacks without native frames", err=True)
    return reading


@attrs.frozen(kw_only=True)
class _Shown:
    """What is printed, in the form of --json."""

    source: str
    reason: str | None
    native: bool
    threads: list[ThreadStack]
    deadlocks: tuple[Deadlock, ...] | None
    incomplete: str | None
    """Why what is not shown may be there."""


def _show(shown: _Shown, *, as_json: bool) -> None:
    if as_json:
        print_json(attrs.asdict(shown))
        return
    for line in _text(shown.threads, native=shown.native):
        click.echo(escape_unprintable(line))
    for line in deadlock_lines(shown.deadlocks or (), shown.threads):
        click.echo("\n" + escape_unprintable(line))


def _text(stacks: list[ThreadStack], *, native: bool) -> Iterator[str]:
    for number, stack in enumerate(stacks):
        if number:
            yield ""
        yield from stack_lines(stack)
        if native and not stack.has_native:
            yield "    (its native frames cannot be merged in: too little is known of them)"
