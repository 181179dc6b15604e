"""The command line: one module per command. Only here do errors become exit codes."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from gencore._version import __version__
from gencore.cli.bundle import extract_command, info_command, list_command, verify_command
from gencore.cli.cache import cache
from gencore.cli.debug import open_command
from gencore.cli.demo import demo
from gencore.cli.doctor import doctor
from gencore.cli.dump import dump_command
from gencore.cli.errors import describe_error, print_error
from gencore.cli.launch import exec_command
from gencore.cli.plugins import plugins
from gencore.cli.ps import ps_command
from gencore.cli.report import report
from gencore.cli.stacks import stacks_command
from gencore.errors import ExitCode, GencoreError

__all__ = ["main"]

_EXIT_CODES = "\n".join(("\b", "Exit codes:", *(f"{code:5} {code.meaning}" for code in ExitCode)))


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(__version__, prog_name="gencore")
def gencore() -> None:
    """Core dumps of a live Python process, from inside it, without ptrace."""


_COMMANDS = (
    demo,
    exec_command,
    dump_command,
    ps_command,
    list_command,
    info_command,
    verify_command,
    extract_command,
    stacks_command,
    open_command,
    report,
    doctor,
    plugins,
    cache,
)
for _command in _COMMANDS:
    gencore.add_command(_command)


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
        sys.exit(code)
    except click.ClickException as error:
        error.show()
        _print_json(
            {
                "error": "UsageError",
                "message": error.format_message(),
                "remedy": None,
                "exit_code": error.exit_code,
            }
        )
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo("gencore: interrupted", err=True)
        sys.exit(getattr(error.__cause__ or error, "exit_code", ExitCode.INTERRUPTED))
    except GencoreError as error:
        _report(error)
        sys.exit(error.exit_code)


def _report(error: GencoreError) -> None:
    print_error(error)
    _print_json(describe_error(error))


def _print_json(shown: dict[str, Any]) -> None:
    """Print an error as the one JSON object that was asked for."""
    if "--json" in sys.argv:
        click.echo(json.dumps(shown, indent=1))
