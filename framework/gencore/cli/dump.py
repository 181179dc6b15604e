"""``gencore dump``: armed processes are dumped from outside, by this one."""

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, get_args

import click

from gencore._pipeline.pipeline import Pipeline
from gencore._settings.options import DestinationSpec, Options
from gencore.arming import armed_processes
from gencore.cli import progress
from gencore.cli.errors import describe_error, print_error
from gencore.cli.fitting import fitted
from gencore.cli.options import json_option
from gencore.errors import ExitCode, GencoreError, TargetUnavailable, UsageError
from gencore.request import Content, Threads
from gencore.target import ArmedProcess
from gencore.triggers import Fired

__all__ = ["dump_command"]

_STANDARD_OUTPUT: Final = "-"
_PTRACE: Final = "linux-ptrace"


@click.command("dump")
@click.argument("pids", metavar="PID...", type=int, nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every armed process that you may dump.")
@click.option("--name", metavar="PATTERN", help="Those whose name matches, such as 'gunicorn*'.")
@click.option("--children", is_flag=True, help="Also the armed descendants of each.")
@click.option(
    "-o",
    "--output",
    metavar="DIR|-",
    help="Where the bundles go; -: the bundle to standard output. Default: as for a pipeline.",
)
@click.option("--collector", "collectors", multiple=True, help="A collector; several are allowed.")
@click.option("--content", type=click.Choice(get_args(Content)), help="Which memory.")
@click.option("--threads", type=click.Choice(get_args(Threads)), help="Whose registers.")
@click.option("--timeout", type=float, help="Seconds until an unfinished dump is given up.")
@click.option("--reason", help="Why, for the manifest.")
@click.option("--fired", nargs=2, hidden=True, help="What an agent says of its trigger, and why.")
@click.option(
    "--ptrace",
    is_flag=True,
    help="Of processes that are not armed, in any language; needs a debugger's rights.",
)
@click.option("--allow-undumpable", is_flag=True, default=None, help="See prctl(2).")
@click.option("--force", is_flag=True, default=None, help="Dump even if disk space may run out.")
@click.option("--fit", is_flag=True, help="Less content where memory is short for the clone.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
def dump_command(
    *,
    pids: tuple[int, ...],
    every: bool,
    name: str | None,
    children: bool,
    output: str | None,
    collectors: tuple[str, ...],
    fired: tuple[str, str] | None,
    ptrace: bool,
    fit: bool,
    quiet: bool,
    as_json: bool,
    **request: Any,
) -> int:
    """Dump armed processes, which pay for a pause of milliseconds and nothing else.

    Prints the path of each artefact. Processes are armed by 'gencore exec'.
    """
    if not pids and not every and name is None:
        raise UsageError("no process was named", remedy="list those that are armed: gencore ps")
    if fired is not None:
        request["fired"], request["reason"] = Fired.read(fired[0]), fired[1]
    if ptrace:
        request["backend"] = _PTRACE
    options = _options(output, collectors, request)
    targets = list(dict.fromkeys(_targets(pids, every=every, name=name, children=children)))
    if output == _STANDARD_OUTPUT and (as_json or len(targets) != 1):
        raise UsageError("-o - takes one process, and no --json")
    least: Content = "private" if ptrace else "stacks"  # of what the backend can do
    rows = [
        _dump(pid, fitted(options, pid, least) if fit else options, quiet=quiet, as_json=as_json)
        for pid in targets
    ]
    code = _exit_code([row["exit_code"] for row in rows])
    if as_json:
        shown = {"schema_version": "1.0", "exit_code": code, "dumps": rows}
        click.echo(json.dumps(shown, indent=1))
    return code


def _options(output: str | None, collectors: tuple[str, ...], request: dict[str, Any]) -> Options:
    given: Options = {name: value for name, value in request.items() if value is not None}  # type: ignore[assignment]  # click's names are ours
    if collectors:
        given["collectors"] = collectors
    if output == _STANDARD_OUTPUT:
        given["destination"] = DestinationSpec("descriptor")
    elif output is not None:
        given["directory"] = output
    return given


def _targets(
    pids: Iterable[int], *, every: bool, name: str | None, children: bool
) -> Iterator[int]:
    """Yield the pids that are meant. Raises `TargetUnavailable` if a search finds none."""
    armed = list(armed_processes()) if every or children or name is not None else []
    found = [p.pid for p in armed if every or (name is not None and fnmatchcase(p.name, name))]
    if (every or name is not None) and not found:
        what = "no armed process was found" if every else f"no armed process is named {name!r}"
        raise TargetUnavailable(what, remedy="start one with: gencore exec -- COMMAND")
    for pid in (*pids, *found):
        yield pid
        if children:
            yield from _descendants(pid, armed)


def _descendants(pid: int, armed: list[ArmedProcess]) -> Iterator[int]:
    for process in armed:
        if process.parent == pid:
            yield process.pid
            yield from _descendants(process.pid, armed)


def _dump(pid: int, options: Options, *, quiet: bool, as_json: bool) -> dict[str, Any]:
    """Dump one process; print what was saved and what went wrong, and return the row for JSON."""
    try:
        meant: Options = {**options, "target": pid}
        report = progress.wait_for(Pipeline(**meant).start(), quiet=quiet)
    except GencoreError as error:
        print_error(error)
        return {"pid": pid, "exit_code": error.exit_code, "error": describe_error(error)}
    for part in report.problems:
        click.echo(f"gencore: process {pid}: {part.part}: {part.reason}", err=True)
    if not as_json:
        for artifact in report.artifacts:
            if artifact.path is not None:
                click.echo(artifact.path)
    return {"pid": pid, "exit_code": report.exit_code, "error": None, **report.as_dict()}


def _exit_code(codes: list[int]) -> int:
    """Return the code of all; ``partial`` if some were saved and others not."""
    different = set(codes)
    return codes[0] if len(different) == 1 else ExitCode.PARTIAL
