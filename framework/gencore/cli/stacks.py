"""``gencore stacks``: the stack of each thread, from the core or from the manifest."""

import importlib.util
import json
import os
import subprocess
import sys
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
from gencore.cli.bundle import open_input, unpack, why_no_executable
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.cli.thread_stacks import (
    ThreadStack,
    stack_lines,
    stacks_from_core,
    stacks_from_manifest,
)
from gencore.errors import IntegrityError, UsageError

__all__ = ["stacks_command"]

_DEBUGINFOD: Final = "DEBUGINFOD_URLS"
"""Where pystack would ask for what the build IDs in the core name."""
_INSTALL: Final = "pip install 'gencore[analysis]'"
_MISSING: Final = (
    "pystack is not installed: showing the stacks that the manifest recorded at the instant.\n"
    f"To read them from the core, and for --native: {_INSTALL}"
)


@click.command("stacks")
@bundle_argument
@click.option("--native", is_flag=True, help="Merge in the native frames.")
@click.option("--keep", is_flag=True, help="Keep the unpacked copy, for the next command.")
@quiet_option
@json_option
def stacks_command(*, path: Path, native: bool, keep: bool, quiet: bool, as_json: bool) -> None:
    """Show the Python stack of every thread.

    They are read from the core if pystack is installed, and else from the manifest, which recorded
    them at the instant.

    \b
    Examples:
      gencore stacks BUNDLE
      gencore stacks --native BUNDLE
    """
    from_core = importlib.util.find_spec("pystack") is not None
    if native and not from_core:
        raise UsageError("--native needs pystack, which is not installed", remedy=_INSTALL)
    with open_input(path) as opened:
        threads, sources = ManifestValue(opened.facts())["threads"], SourceLines(opened)
        if from_core:
            with unpack(opened, keep=keep, quiet=quiet) as copy:
                rows = _run_pystack(opened, copy, native=native)
            stacks = stacks_from_core(ManifestValue(rows), threads, sources)
        elif opened.has_manifest:
            click.echo(_MISSING, err=True)
            stacks = stacks_from_manifest(threads, sources)
        else:
            raise UsageError(
                f"{path}: reading the stacks of a core file needs pystack, which is not installed",
                remedy=_INSTALL,
            )
    if as_json:
        shown = [attrs.asdict(stack) for stack in stacks]
        source = "core" if from_core else "manifest"
        print_json({"source": source, "native": native, "threads": shown})
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


def _run_pystack(opened: OpenedCore, copy: UnpackedCore, *, native: bool) -> Any:
    if copy.executable is None:
        remedy = "extract the core where it was made, and open that: gencore extract CORE"
        raise IntegrityError(
            f"core file {opened.path}: {why_no_executable(opened)}", remedy=remedy
        )
    command = [sys.executable, "-P", "-m", "gencore.cli.pystack_process", str(copy.core)]
    command += [str(copy.executable), str(copy.folder), "native" if native else ""]
    environment = {name: value for name, value in os.environ.items() if name != _DEBUGINFOD}
    done = subprocess.run(  # noqa: S603 - no shell
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise IntegrityError(f"pystack cannot read the core: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)
