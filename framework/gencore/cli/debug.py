"""``gencore open``: a debugger on a bundle's core, with the libraries from the bundle."""

import os
import shlex
import shutil
from pathlib import Path

import click

from gencore._confinement.confining import Confinement, execute_confined
from gencore._escaping import escape_unprintable
from gencore.bundle.cache import UnpackedCore, hold
from gencore.cli.budget import limited, limits_apply
from gencore.cli.bundle import open_input, unpack, why_no_executable
from gencore.cli.errors import print_gap
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, quiet_option
from gencore.errors import IntegrityError, UsageError

__all__ = ["open_command"]


@click.command("open")
@bundle_argument
@click.argument("arguments", nargs=-1)
@click.option("--lldb", is_flag=True, help="Start lldb instead of gdb.")
@click.option("--print", "only_print", is_flag=True, help="Only print the command line.")
@quiet_option
@json_option
@limited
def open_command(
    *,
    path: Path,
    arguments: tuple[str, ...],
    lldb: bool,
    only_print: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Open a bundle, or a core alone, in gdb or lldb.

    Put further ARGUMENTS for the debugger after "--". The bundle is unpacked into a private cache
    directory, which later calls reuse and 'gencore cache clear' removes. No program from the
    bundle is executed, and none of its scripts is loaded. The debugger can read nothing but that
    directory and what is installed on the system, write nothing, and reach no network.

    \b
    Examples:
      gencore open BUNDLE
      gencore open BUNDLE -- -batch -ex 'thread apply all backtrace'
      gencore open --lldb BUNDLE
    """
    with open_input(path) as opened, unpack(opened, keep=True, quiet=quiet) as copy:
        if copy.executable is None:
            click.echo(f"gencore: {escape_unprintable(why_no_executable(opened))}", err=True)
        command = [*(_lldb if lldb else _gdb)(copy), *arguments]
        if as_json:
            print_json({"command": command, "folder": copy.folder})
        elif only_print:
            click.echo(" ".join(map(_quoted, command)))
        else:
            _start(command, copy)


def _gdb(copy: UnpackedCore) -> list[str]:
    """Return a command line that loads no .gdbinit and no script of a library."""
    settings = ("auto-load off", f"sysroot {copy.folder}", "debuginfod enabled off")
    options = [option for text in settings for option in ("-iex", f"set {text}")]
    return ["gdb", "-nx", *options, *_executable(copy), "-c", str(copy.core)]


def _lldb(copy: UnpackedCore) -> list[str]:
    """Return a command line. Raises `IntegrityError` if LLDB takes a path for commands."""
    for path in (copy.folder, copy.core):
        if "`" in str(path) or not str(path).isprintable():
            raise IntegrityError(f"{path}: unsupported by LLDB", remedy="rename it, or use gdb")
    commands = (
        "settings set target.load-script-from-symbol-file false",
        f"platform select --sysroot {shlex.quote(str(copy.folder))} remote-linux",
        shlex.join(["target", "create", "--core", str(copy.core), *_executable(copy)]),
    )
    options = [option for text in commands for option in ("-o", text)]
    return ["lldb", "--no-lldbinit", *options]


def _executable(copy: UnpackedCore) -> list[str]:
    return [] if copy.executable is None else [str(copy.executable)]


def _quoted(word: str) -> str:
    """Quote for a shell, in printable characters even if the word is not valid text."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(f"\\{byte:03o}" for byte in os.fsencode(word)) + "'"


def _start(command: list[str], copy: UnpackedCore) -> None:
    """Become the debugger, confined. Raises `UsageError` if it is not installed."""
    if shutil.which(command[0]) is None:
        raise UsageError(
            f"{command[0]} is not installed", remedy=f"install {command[0]}, or use --print"
        )

    def keep() -> None:
        if copy.copy is not None:
            hold(copy.copy)  # as long as the debugger runs

    if limits_apply():
        execute_confined(command, Confinement.of(command[0], copy.readable), print_gap, keep)
    keep()
    os.execvp(command[0], command)  # noqa: S606 - no shell: the arguments are passed as they are
