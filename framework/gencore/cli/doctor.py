"""``gencore doctor``: would a dump work here, by which backend, and if not, what to do."""

import os
from collections.abc import Iterator
from typing import Any, NoReturn

import attrs
import click

from gencore._escaping import escape_unprintable
from gencore._quantities import show_size
from gencore.cli.completion import armed
from gencore.cli.diagnosis.examination import Opinion, examine
from gencore.cli.json_output import print_json
from gencore.cli.options import check_process, directory_option, json_option
from gencore.verdict import Prospect

__all__ = ["doctor"]


@click.command()
@click.option(
    "--pid",
    "named",
    metavar="PID",
    callback=lambda _, __, named: named and check_process(named),
    shell_complete=armed,
    help="The process that 'gencore dump PID' would dump. Default: a program that dumps itself.",
)
@directory_option("Where dumps would go.")
@json_option
def doctor(*, named: str | None, directory: str | None, as_json: bool) -> NoReturn:
    """Say whether a dump would work, by which backend, or why not.

    With the settings that a dump would read: GENCORE_* and the file of GENCORE_CONFIG. Nothing is
    changed, and no process is stopped. The exit code is that of the dump: 0, it would work; 4, the
    environment or the directory will not do; 5, no backend works, or not the one of the settings;
    6, the process is gone, not armed, or not permitted; 2 or 9, the settings are wrong.

    \b
    Examples:
      gencore doctor
      gencore doctor -o /var/dumps
      gencore doctor --pid 4711
    """
    opinion = examine(named, directory)
    if as_json:
        print_json(_as_json(opinion))
    else:
        for line in _lines(opinion):
            click.echo(escape_unprintable(line))
    raise SystemExit(opinion.exit_code)


def _as_json(opinion: Opinion) -> dict[str, Any]:
    prospect, target = opinion.case.prospect, opinion.case.target
    return {
        "ok": prospect is not None,
        "exit_code": int(opinion.exit_code),
        "pid": target.other,
        "backend": prospect and prospect.backend,
        "core_size": prospect and prospect.core_size,
        "directory": opinion.case.directory and str(opinion.case.directory),
        "configuration": os.environ.get("GENCORE_CONFIG"),
        "reasons": [attrs.asdict(reason) for reason in opinion.reasons],
        "warnings": list(prospect.warnings) if prospect else [],
        "checks": [attrs.asdict(row) for row in opinion.rows],
        "backends": [
            {"name": name, "ok": verdict.ok, **attrs.asdict(verdict)}
            for name, verdict in opinion.backends.items()
        ],
        "policy_faults": [attrs.asdict(fault) for fault in opinion.faults_of_policy],
    }


def _lines(opinion: Opinion) -> Iterator[str]:
    yield _verdict(opinion)
    if opinion.case.prospect is not None:
        yield from _what_it_takes(opinion.case.prospect)
    for reason in opinion.reasons:
        yield f"  {reason.text}"
        yield from _remedy(reason.remedy, 4)
    for fault in opinion.faults_of_policy:
        yield fault.text
        yield from _remedy(fault.remedy, 2)
    yield ""
    yield "checks:"
    for row in opinion.rows:
        yield f"  {row.state:<8} {row.label:<20} {row.text}"
        yield from _remedy(row.remedy, 12)
    yield ""
    yield "backends:"
    for name, verdict in opinion.backends.items():
        yield f"  {'yes' if verdict.ok else 'no':<8} {name}"
        for reason in verdict.reasons:
            yield f"    because {reason.text}"
            yield from _remedy(reason.remedy, 6)
        for key, value in verdict.facts.items():
            yield f"    {key}: {value}"


def _verdict(opinion: Opinion) -> str:
    """Return the first line."""
    prospect, pid = opinion.case.prospect, opinion.case.target.other
    what = "a dump" if pid is None else f"gencore dump {pid}"
    if prospect is not None:
        return f"yes: {what} would work, by {prospect.backend}"
    works = [name for name, verdict in opinion.backends.items() if verdict.ok]
    although = f", although {works[0]} works" if works else ""
    return f"no: {what} would fail with exit code {opinion.exit_code:d}{although}"


def _what_it_takes(prospect: Prospect) -> Iterator[str]:
    if prospect.core_size is not None:
        yield f"  its core: at most {show_size(prospect.core_size)}"
    for warning in prospect.warnings:
        yield f"  warning: {warning}"


def _remedy(remedy: str | None, indent: int) -> Iterator[str]:
    if remedy is not None:
        yield f"{' ' * indent}remedy: {remedy}"
