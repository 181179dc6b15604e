"""The command line: one module per command. Only here do errors become exit codes."""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click

from gencore._version import __version__
from gencore.cli.errors import print_error
from gencore.errors import ExitCode, GencoreError, UsageError

__all__ = ["main"]

_COMMANDS: Final = {
    "cache": "gencore.cli.cache:cache",
    "demo": "gencore.cli.demo:demo",
    "diff": "gencore.cli.diff:diff_command",
    "doctor": "gencore.cli.doctor:doctor",
    "dump": "gencore.cli.dump:dump_command",
    "exec": "gencore.cli.launch:exec_command",
    "extract": "gencore.cli.bundle:extract_command",
    "heap": "gencore.cli.heap:heap_command",
    "info": "gencore.cli.bundle:info_command",
    "inspect": "gencore.cli.inspect:inspect_command",
    "list": "gencore.cli.listing:list_command",
    "locks": "gencore.cli.locks:locks_command",
    "objects": "gencore.cli.objects:objects_command",
    "open": "gencore.cli.debug:open_command",
    "plugins": "gencore.cli.plugins:plugins",
    "ps": "gencore.cli.ps:ps_command",
    "referrers": "gencore.cli.referrers:referrers_command",
    "report": "gencore.cli.report:report",
    "stacks": "gencore.cli.stacks:stacks_command",
    "tasks": "gencore.cli.tasks:tasks_command",
    "verify": "gencore.cli.bundle:verify_command",
    "why": "gencore.cli.why:why_command",
}
"""Where each command is: only the one that runs is imported, or all for ``--help``."""
_OF_OUTPUT: Final = frozenset(
    (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
)
"""What writing to standard output fails with, which says nothing of a file."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are looked up, as click documents it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, command = _COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), command)
        return found

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write a section like those of options and commands."""
        rows = "".join(f"{code:6} {code.meaning}\n" for code in ExitCode)
        formatter.write(f"\nExit codes:\n{rows}")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command if one is unknown; click seeks among imported ones only."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="gencore")
def gencore() -> None:
    """Core dumps of a live Python process, without ptrace and without stopping it.

    \b
    Examples:
      gencore exec -- gunicorn app:app
      gencore ps
      gencore dump 4711 -o /var/dumps
      gencore stacks BUNDLE
    """


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: ends a command as Ctrl-C does, with nothing left behind."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def _terminate(number: int, _: object) -> NoReturn:
    raise _Terminated(number)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let both signals end the command, unless they are ignored, as nohup does."""
    both = (signal.SIGTERM, signal.SIGHUP)
    ours = [number for number in both if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, _terminate)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class Interrupted(GencoreError):
    """The command was ended by a signal."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    _open_standard_streams()
    try:
        code = _run()
        sys.stdout.flush()
    except OSError as error:
        _give_up_output(error)
        code = ExitCode.FAILED
    sys.exit(code)


def _open_standard_streams() -> None:
    """Open what is closed, or the next file that is opened would be written to in its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the end


def _run() -> int:
    """Run the command; report the error that ended it, in JSON too. Return the exit code."""
    code = None
    try:
        with _ended_by_signals():
            return gencore(standalone_mode=False) or ExitCode.COMPLETE
    except click.ClickException as error:
        error.show()
        reported: GencoreError = UsageError(error.format_message())
    except (click.Abort, KeyboardInterrupt) as error:
        code = getattr(error.__cause__ or error, "exit_code", ExitCode.INTERRUPTED)
        print_error(reported := Interrupted("interrupted"))
    except GencoreError as error:
        print_error(reported := error)
    except OSError as error:
        if error.filename is None and error.errno in _OF_OUTPUT:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print_error(reported := GencoreError(f"{where}{error.strerror or error}"))
    code = reported.exit_code if code is None else code
    _print_as_json(reported, code)
    return code


def _print_as_json(error: GencoreError, code: int) -> None:
    """Print an error as the one JSON object, if one was requested."""
    from gencore.cli.json_output import describe_error, is_json_requested, print_json

    if is_json_requested():
        print_json({**describe_error(error), "exit_code": code})


def _give_up_output(error: OSError) -> None:
    """Say why standard output could not be written, unless its reader has had enough."""
    if not isinstance(error, BrokenPipeError):
        click.echo(f"gencore: standard output: {error.strerror}", err=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes too
