"""``gencore ps``: lists the armed processes."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from gencore._escaping import escape_unprintable
from gencore.arming import armed_processes
from gencore.cli.json_output import print_json
from gencore.cli.options import json_option, quiet_option
from gencore.target import ArmedProcess

__all__ = ["ps_command"]

_COLUMNS: Final = "{:>8} {:>8} {:>9} {:>7} {:>10}  {}"
_BY_AGENT: Final = (
    "gencore: those with a name like {} are of another PID namespace: name them by it, or by the "
    "ID in it if no other has that"
)
_NONE: Final = (
    "gencore: no armed process answers, and one that is stopped (SIGSTOP) cannot; start one with: "
    "gencore exec -- COMMAND"
)
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@click.command("ps")
@quiet_option
@json_option
def ps_command(*, quiet: bool, as_json: bool) -> int:
    """List armed processes: age, memory, threads, last dump.

    \b
    Examples:
      gencore ps
      gencore ps --json | jq '.processes[].pid'
    """
    found = list(armed_processes())
    if as_json:
        print_json({"processes": [_row(process) for process in found]})
        return 0
    click.echo(_COLUMNS.format("PID", "AGE", "MEMORY", "THREADS", "LAST DUMP", "COMMAND"))
    for process in found:
        click.echo(_line(process))
    hidden = next((process.agent for process in found if process.hidden), None)
    if hidden is not None and not quiet:
        click.echo(_BY_AGENT.format(hidden), err=True)
    if not found and not quiet:
        click.echo(_NONE, err=True)
    return 0


def _row(process: ArmedProcess) -> dict[str, Any]:
    return {
        "agent": process.agent,
        "hidden": process.hidden,
        "pid": process.pid,
        "parent_pid": process.parent,
        "user": process.user,
        "name": process.name,
        "argv": list(process.argv),
        "started_at": process.started_at,
        "memory_bytes": process.memory,
        "threads": process.threads,
        "dumps": process.dumps,
        "last_dump": process.last_dump,
    }


def _line(process: ArmedProcess) -> str:
    return _COLUMNS.format(
        process.agent if process.hidden else process.pid,
        _age(process.started_at),
        f"{process.memory / 2**20:,.0f} MiB",
        process.threads,
        "never" if process.last_dump is None else f"{_age(process.last_dump)} ago",
        escape_unprintable(" ".join(process.argv) or process.name),
    )


def _age(instant: datetime) -> str:
    """Return how long ago it was, in the largest unit of which there are two."""
    seconds = max(0.0, (datetime.now(UTC) - instant).total_seconds())
    for size, unit in _UNITS:
        if seconds >= 2 * size or size == 1:
            return f"{seconds / size:.0f} {unit}"
    raise AssertionError("unreachable")
