"""The options that several commands take, with one name, default and environment variable."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from gencore.cli.completion import BundlePath
from gencore.errors import UsageError

__all__ = [
    "ADDRESS",
    "BUNDLE",
    "PTRACE",
    "bundle_argument",
    "check_process",
    "directory_option",
    "json_option",
    "keep_option",
    "locals_option",
    "quiet_option",
    "top_option",
]

Command = Callable[..., Any]

BUNDLE: Final = BundlePath(exists=True, allow_dash=True, path_type=Path)
"""What `open_core` opens."""
bundle_argument = click.argument("path", metavar="BUNDLE", type=BUNDLE)
PTRACE: Final = "linux-ptrace"
"""The backend that --ptrace names."""
_PROCESS: Final = re.compile(r"[1-9][0-9]*|[0-9]+/[1-9][0-9]*/[0-9]+")
"""A process ID, or the name of an agent."""


class _Address(click.ParamType[int]):
    """An address, hexadecimal with 0x in front, or decimal."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            address = int(str(value), 0)
        except ValueError:
            address = -1
        if not 0 <= address < 1 << 64:
            self.fail(f"invalid address: {value!r}", param, ctx)
        return address


ADDRESS: Final = _Address()
"""Of an object in a core."""
keep_option = click.option(
    "--keep", is_flag=True, help="Keep the unpacked copy, for the next command."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress and no notes.")


def directory_option(purpose: str) -> Callable[[Command], Command]:
    """Return ``--output``, as *directory*, whose help is *purpose*; None if it was not given."""
    otherwise = "Default: GENCORE_DIRECTORY, else as in GENCORE_CONFIG, else the current one."
    names = ("-o", "--output", "--directory", "directory")
    return click.option(*names, metavar="DIR", help=f"{purpose} {otherwise}")


def top_option(default: int, purpose: str, *, most: int = 10_000) -> Callable[[Command], Command]:
    """Return ``--top``, as *top*: how many rows are shown, whose help is *purpose*."""
    return click.option(
        "--top",
        metavar="N",
        type=click.IntRange(1, most),
        default=default,
        show_default=True,
        help=purpose,
    )


def locals_option(command: Command) -> Command:
    """Add ``--locals``, as *values*: what is shown of values that may be secrets."""
    text = "Show values, too: keys of dictionaries, for example, which may be secrets."
    return click.option("--locals", "values", is_flag=True, help=text)(command)


def json_option(command: Command) -> Command:
    """Add ``--json``, which is *as_json*, and ``--schema``, which prints what that conforms to."""
    for add in (
        click.option(
            "--schema",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_schema,
            help="Print the JSON Schema of --json, and exit.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    ):
        command = add(command)
    return command


def _print_schema(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if not wanted or context.resilient_parsing:
        return
    from importlib.resources import files  # with random and tempfile

    file = files("gencore.cli") / "schemas" / f"{'-'.join(_path_of(context))}.json"
    click.echo(file.read_text(encoding="utf-8"), nl=False)
    context.exit()


def _path_of(context: click.Context) -> tuple[str, ...]:
    """Return the names that lead to a command, without the program's."""
    if context.parent is None:
        return ()
    return *_path_of(context.parent), str(context.command.name)


def check_process(named: str) -> str:
    """Return what names a process. Raises `UsageError` if it cannot be one."""
    if not _PROCESS.fullmatch(named):
        raise UsageError(
            f"invalid process: {named!r} (expected an ID, or the name of an agent)",
            remedy="list those that are armed: gencore ps",
        )
    return named
