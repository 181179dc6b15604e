"""The command line: one module per command. Only here do errors become exit codes."""

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import click

from gencore._version import __version__
from gencore.cli.errors import print_error
from gencore.errors import ExitCode, GencoreError, UsageError

__all__ = ["main"]

_EXIT_CODES = "\n".join(("\b", "Exit codes:", *(f"{code:5} {code.meaning}" for code in ExitCode)))


_COMMANDS: Final = {
    "cache": "gencore.cli.cache:cache",
    "demo": "gencore.cli.demo:demo",
    "doctor": "gencore.cli.doctor:doctor",
    "dump": "gencore.cli.dump:dump_command",
    "exec": "gencore.cli.launch:exec_command",
    "extract": "gencore.cli.bundle:extract_command",
    "info": "gencore.cli.bundle:info_command",
    "list": "gencore.cli.listing:list_command",
    "open": "gencore.cli.debug:open_command",
    "plugins": "gencore.cli.plugins:plugins",
    "ps": "gencore.cli.ps:ps_command",
    "report": "gencore.cli.report:report",
    "stacks": "gencore.cli.stacks:stacks_command",
    "verify": "gencore.cli.bundle:verify_command",
}
"""Where each command is: only the one that runs is imported, or all for ``--help``."""


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


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES
)
@click.version_option(__version__, prog_name="gencore")
def gencore() -> None:
    """Core dumps of a live Python process, from inside it, without ptrace."""


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


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        with _ended_by_signals():
            code = gencore(standalone_mode=False) or 0
            sys.stdout.flush()
        sys.exit(code)
    except click.ClickException as error:
        error.show()
        _print_as_json(UsageError(error.format_message()))
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo("gencore: interrupted", err=True)
        sys.exit(getattr(error.__cause__ or error, "exit_code", ExitCode.INTERRUPTED))
    except GencoreError as error:
        _report(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is not None:
            raise
        _give_up_output(error)
        sys.exit(ExitCode.FAILED)


def _give_up_output(error: OSError) -> None:
    """Say why standard output could not be written, unless its reader has had enough."""
    if not isinstance(error, BrokenPipeError):
        click.echo(f"gencore: standard output: {error.strerror}", err=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes too


def _report(error: GencoreError) -> None:
    print_error(error)
    _print_as_json(error)


def _print_as_json(error: GencoreError) -> None:
    """Print an error as the one JSON object, if one was requested."""
    from gencore.cli.json_output import describe_error, is_json_requested, print_json

    if is_json_requested():
        print_json(describe_error(error))
