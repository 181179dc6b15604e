"""``gencore dump``: armed processes are dumped from outside, by this one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final, get_args

import click

from gencore._pipeline.pipeline import Pipeline
from gencore._settings.options import DestinationSpec, Options
from gencore.arming import armed_processes, find_target
from gencore.cli import progress
from gencore.cli.completion import armed, plugins
from gencore.cli.errors import print_error
from gencore.cli.fitting import fitted
from gencore.cli.json_output import describe_error, print_json
from gencore.cli.options import PTRACE, check_process, json_option, quiet_option
from gencore.errors import ExitCode, GencoreError, TargetUnavailable, UsageError
from gencore.request import Content, Threads
from gencore.target import ArmedProcess, Target
from gencore.triggers import Fired

__all__ = ["dump_command"]

_STANDARD_OUTPUT: Final = "-"
_LARGEST_KEPT: Final = 31 << 20
"""Bytes: glibc's limit is 32 MiB on 64-bit systems, the block's own header included."""


def _check_names(_: click.Context, __: click.Parameter, named: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(check_process, named))


@click.command("dump")
@click.argument("named", metavar="PID...", nargs=-1, callback=_check_names, shell_complete=armed)
@click.option("--all", "every", is_flag=True, help="Every armed process that you may dump.")
@click.option("--name", metavar="PATTERN", help="Those whose name matches, such as 'gunicorn*'.")
@click.option("--children", is_flag=True, help="Also the armed descendants of each.")
@click.option(
    "-o",
    "--output",
    metavar="DIR|-",
    help="Where the bundles go; -: the bundle to standard output. Default: as for a pipeline.",
)
@click.option(
    "--collector",
    "collectors",
    multiple=True,
    shell_complete=plugins("collector"),
    help="A collector; several are allowed.",
)
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
@click.option(
    "--huge-pages",
    is_flag=True,
    default=None,
    help="Collapse its memory into huge pages first: a shorter pause, for time before it.",
)
@click.option("--fit", is_flag=True, help="Less content where memory is short for the clone.")
@quiet_option
@json_option
def dump_command(
    *,
    named: tuple[str, ...],
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
    """Dump running processes, from outside.

    They pay for a pause of milliseconds and nothing else. Prints the path of each artefact.

    Processes are armed by 'gencore exec'. One of another container in the same network is named by
    the ID that it has there, or by its agent: the list of 'gencore ps' has both.

    \b
    Examples:
      gencore dump 4711 -o /var/dumps --reason 'latency alert'
      gencore dump --name 'gunicorn*' --children
      gencore dump 4711 -o - | ssh backup 'cat > core.tar.gz'
    """
    _keep_freed_memory()
    if not named and not every and name is None:
        raise UsageError("no process was named", remedy="list those that are armed: gencore ps")
    if fired is not None:
        request["fired"], request["reason"] = Fired.read(fired[0]), fired[1]
    if ptrace:
        request["backend"] = PTRACE
    options = _options(output, collectors, request)
    find = _unarmed_target if ptrace else find_target
    least: Content | None = ("private" if ptrace else "stacks") if fit else None
    found = _meant(named, every=every, name=name, children=children)
    targets = list(dict.fromkeys(found))
    if output == _STANDARD_OUTPUT and (as_json or len(targets) != 1):
        raise UsageError("-o - takes one process, and no --json")
    rows = [
        _dump(target, partial(_options_for, find, options, least), quiet=quiet, as_json=as_json)
        for target in targets
    ]
    code = _exit_code([row["exit_code"] for row in rows])
    if as_json:
        print_json({"exit_code": code, "dumps": rows})
    return code


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of each block of a bundle for the next one.

    Otherwise it goes back to the kernel, which clears it again. glibc keeps what is not larger
    than a block that was freed before, see M_MMAP_THRESHOLD in mallopt(3); this one is never
    touched. A recorder has that in its environment.
    """
    with suppress(MemoryError):  # of address space, see RLIMIT_AS in getrlimit(2)
        bytearray(_LARGEST_KEPT)


def _options(output: str | None, collectors: tuple[str, ...], request: dict[str, Any]) -> Options:
    given: Options = {name: value for name, value in request.items() if value is not None}  # type: ignore[assignment]  # click's names are ours
    if collectors:
        given["collectors"] = collectors
    if output == _STANDARD_OUTPUT:
        given["destination"] = DestinationSpec("descriptor")
    elif output is not None:
        given["directory"] = output
    return given


def _unarmed_target(named: str) -> Target:
    if not named.isdecimal():
        raise UsageError(f"{named!r} is the name of an agent, and --ptrace takes a process ID")
    return Target(int(named))


def _options_for(
    find: Callable[[str], Target], options: Options, least: Content | None, named: str
) -> Options:
    """Return the options for a process; *least* is the content that may be fallen back to.

    Raises `GencoreError` if it is not to be found.
    """
    target = find(named)
    fitting = options if least is None else fitted(options, target, least)
    return {**fitting, "target": target}  # type: ignore[typeddict-item]  # others have pids


def _meant(
    named: Iterable[str], *, every: bool, name: str | None, children: bool
) -> Iterator[str]:
    """Yield what names those that are meant. Raises `TargetUnavailable` if a search finds none."""
    armed = list(armed_processes()) if every or children or name is not None else []
    found = [p for p in armed if every or (name is not None and fnmatchcase(p.name, name))]
    if (every or name is not None) and not found:
        what = "no armed process was found" if every else f"no armed process is named {name!r}"
        raise TargetUnavailable(what, remedy="start one with: gencore exec -- COMMAND")
    names = {process: _shortest_name(process, armed) for process in armed}
    for one in (*named, *(names[process] for process in found)):
        yield one
        if children:
            first = next((p for p in armed if one in {names[p], p.agent}), None)
            family = _descendants(*(_place(first) if first else ("", one)), armed)
            yield from (names[process] for process in family)


def _shortest_name(process: ArmedProcess, armed: list[ArmedProcess]) -> str:
    """Return its ID if that means it alone, or else the name of its agent."""
    same = [other for other in armed if other.pid == process.pid]
    return str(process.pid) if same == [process] else process.agent


def _place(process: ArmedProcess) -> tuple[str, str]:
    """Return in which PID namespace its ID counts, nothing for this one, and the ID."""
    return process.agent.partition("/")[0] if process.hidden else "", str(process.pid)


def _descendants(space: str, pid: str, armed: list[ArmedProcess]) -> Iterator[ArmedProcess]:
    for process in armed:
        if (_place(process)[0], str(process.parent)) == (space, pid):
            yield process
            yield from _descendants(*_place(process), armed)


def _dump(
    named: str, options_for: Callable[[str], Options], *, quiet: bool, as_json: bool
) -> dict[str, Any]:
    """Dump one process; print what was saved and what went wrong, and return the row for JSON."""
    pid = _pid_in(named)
    try:
        report = progress.wait_for(Pipeline(**options_for(named)).start(), quiet=quiet)
    except GencoreError as error:
        print_error(error)
        return {"pid": pid, "exit_code": error.exit_code, "error": describe_error(error)}
    for part in report.problems:
        click.echo(f"gencore: process {named}: {part.part}: {part.reason}", err=True)
    if report.huge_pages is not None and not quiet:
        click.echo(f"gencore: process {named}: huge pages: {report.huge_pages}", err=True)
    if not as_json:
        for artifact in report.artifacts:
            if artifact.path is not None:
                click.echo(artifact.path)
    return {"pid": pid, "exit_code": report.exit_code, "error": None, **report.as_dict()}


def _pid_in(named: str) -> int:
    """Return the process ID that the name of an agent contains, or that the name is."""
    return int(named.split("/")[1] if "/" in named else named)


def _exit_code(codes: list[int]) -> int:
    """Return the code of all; ``partial`` if some were saved and others not."""
    different = set(codes)
    return codes[0] if len(different) == 1 else ExitCode.PARTIAL
