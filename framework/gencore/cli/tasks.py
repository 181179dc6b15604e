"""``gencore tasks``: the asyncio tasks in a core, who waits for whom, and greenlets."""

from pathlib import Path

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_gap, print_incomplete
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, keep_option, quiet_option
from gencore.cli.reader_process import Reading, ask
from gencore.cli.task_rows import TaskRows, rows_from_core
from gencore.cli.task_tree import greenlet_lines, task_lines
from gencore.errors import IntegrityError

__all__ = ["tasks_command"]


@click.command("tasks")
@bundle_argument
@click.option("--all", "each", is_flag=True, help="Show each task, equal ones too.")
@keep_option
@quiet_option
@json_option
@limited
def tasks_command(*, path: Path, each: bool, keep: bool, quiet: bool, as_json: bool) -> int:
    """Show the asyncio tasks, who waits for whom, and greenlets.

    Below each task are those that it waits for. Tasks that wait in the same place are one entry
    with their number. Cycles of tasks that wait for each other are named at the end. Greenlets,
    those of gevent too, are shown with their stacks. If the core lacks what leads to tasks or
    greenlets, the exit code is 3.

    \b
    Examples:
      gencore tasks BUNDLE
      gencore tasks --all BUNDLE
    """
    with open_input(path) as opened:
        with unpack(opened, keep=keep, quiet=quiet) as copy:
            reading = ask("tasks", copy)
        rows = _rows(path, reading, SourceLines(opened))
    if as_json:
        print_json(attrs.asdict(rows))
    else:
        _print(rows, each=each)
    return print_incomplete(rows.incomplete)


def _rows(path: Path, reading: Reading, sources: SourceLines) -> TaskRows:
    for gap in reading.gaps:
        print_gap(gap)
    if reading.value is None:
        raise IntegrityError(f"{path}: {reading.failure}")
    rows = rows_from_core(ManifestValue(reading.value), sources)
    return attrs.evolve(rows, incomplete=reading.incomplete)


def _print(rows: TaskRows, *, each: bool) -> None:
    if not rows.loops and not rows.greenlets:
        where = "" if rows.incomplete is None else " in what is left of the core"
        click.echo(f"no event loop of asyncio and no greenlet{where}")
    lines = (*greenlet_lines(rows.greenlets, each=each), *task_lines(rows, each=each))
    for line in lines:
        click.echo(escape_unprintable(line))
