"""``gencore why``: what stands out in a core, on one screen."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import attrs
import click

from gencore._escaping import escape_unprintable, quote_path
from gencore._overview import Finding, Overview, about_malloc, make_overview
from gencore._overview.places import Group
from gencore._quantities import show_size
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.source_lines import SourceLines
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_gap, print_incomplete
from gencore.cli.json_output import print_json
from gencore.cli.options import bundle_argument, json_option, keep_option, quiet_option
from gencore.cli.reader_process import ask
from gencore.errors import ExitCode, IntegrityError

__all__ = ["UNREAD", "why_command", "why_of"]

UNREAD: Final = "core"
"""The part that is missing if none was read."""
_INDENT: Final = " " * 11
_WIDTH: Final = 100
_MOST_GROUPS: Final = 12
_MOST_NAMES: Final = 4
_MOST_TYPES: Final = 10
_MOST_HOLDERS: Final = 3
_LARGE_SHARE: Final = 0.05
"""Of the bytes of all objects: what keeps fewer alive is not shown."""


@click.command("why")
@bundle_argument
@keep_option
@quiet_option
@json_option
@limited
def why_command(*, path: Path, keep: bool, quiet: bool, as_json: bool) -> int:
    """Show on one screen why a process hangs or grows.

    First what keeps it from working, such as a deadlock or a limit that is reached, with the
    evidence and the next command; then what is only unusual; then what each thread does, by the
    innermost line of the application's own code, and what is in memory. What is not shown was not
    found, which does not mean that it is not there. If the core cannot be read, it is what the
    manifest recorded, and the exit code is 3; so it is if the core is truncated.

    \b
    Examples:
      gencore why BUNDLE
      gencore why --keep BUNDLE
    """
    with open_input(path) as opened:
        with unpack(opened, keep=keep, quiet=quiet) as copy:
            answer = why_of(copy)
        failure = ManifestValue(answer)["missing"][UNREAD].text
        if failure is not None and not opened.has_manifest:
            raise IntegrityError(f"{path}: {failure}")
        sources = SourceLines(opened)
        shown = make_overview(opened.facts(), answer, sources.find, quote_path(path))
    if as_json:
        print_json(attrs.asdict(shown))
    else:
        for line in _lines(shown):
            click.echo(escape_unprintable(line))
    return ExitCode.PARTIAL if UNREAD in shown.missing else print_incomplete(shown.incomplete)


def why_of(copy: UnpackedCore) -> Mapping[str, Any]:
    """Return what the core says; if it cannot be read, why: that is what is missing."""
    reading = ask("why", copy)
    for gap in reading.gaps:
        print_gap(gap)
    if isinstance(reading.value, dict):
        return {"missing": {}, **reading.value, "incomplete": reading.incomplete}
    return {"missing": {UNREAD: reading.failure}}


def _lines(shown: Overview) -> Iterator[str]:
    yield _title(shown)
    for finding in shown.findings:
        yield ""
        yield from _finding(finding)
    if all(finding.severity != "problem" for finding in shown.findings):
        yield ""
        yield _without_problem(shown)
    yield ""
    yield from _threads(shown)
    for section in (_tasks, _greenlets, _requests, _heap, _packages):
        if lines := [*section(shown)]:
            yield ""
            yield from lines
    for part, reason in shown.missing.items():
        yield f"missing    {part}: {reason}"


def _without_problem(shown: Overview) -> str:
    if UNREAD in shown.missing:
        return "the core was not read: problems are unknown; what follows is what was recorded"
    where = " in what is left of the core" if shown.incomplete else ""
    return f"no problem found{where}; what follows is what the process was doing"


def _title(shown: Overview) -> str:
    subject = shown.subject
    name = subject.service or subject.program or "unknown"
    host = f" on {subject.host}" if subject.host else ""
    threads = sum(group.count for group in shown.groups)
    python = f", Python {subject.python}" if subject.python else ""
    about = f"process {subject.pid}{python}, {_count(threads, 'thread')}"
    return f"{name}{host}: {about}, {subject.created_at or 'at an unknown time'}"


def _finding(finding: Finding) -> Iterator[str]:
    yield from _wrapped(f"{finding.severity:<11}", finding.sentence)
    for line in finding.evidence:
        yield from _wrapped(f"{_INDENT}- ", line)
    if finding.following:
        yield f"{_INDENT}next: {finding.following}"


def _wrapped(label: str, text: str) -> list[str]:
    """Return a text behind its label, in lines that no path is broken by."""
    return wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _threads(shown: Overview) -> Iterator[str]:
    yield "threads    by the innermost line of the application's code"
    for group in shown.groups[:_MOST_GROUPS]:
        yield from _group(group, "no Python" if shown.incomplete is None else "unknown")
    if rest := shown.groups[_MOST_GROUPS:]:
        others = sum(group.count for group in rest)
        yield f"{others:>9,}  at {_count(len(rest), 'other place')}"
    if shown.gil is not None:
        yield from _gil(shown)


def _tasks(shown: Overview) -> Iterator[str]:
    yield from _suspended("tasks      {:,} of asyncio", shown.tasks)


def _greenlets(shown: Overview) -> Iterator[str]:
    yield from _suspended("greenlets  {:,}", shown.greenlets)


def _suspended(heading: str, groups: Sequence[Group]) -> Iterator[str]:
    """Yield groups of what waits on no thread of its own."""
    if groups:
        count = sum(group.count for group in groups)
        yield heading.format(count) + ", by the innermost line of the application's code"
    for group in groups[:_MOST_GROUPS]:
        yield from _group(group)
    if rest := groups[_MOST_GROUPS:]:
        others = sum(group.count for group in rest)
        yield f"{others:>9,}  at {_count(len(rest), 'other place')}"


def _group(group: Group, nowhere: str = "no Python") -> Iterator[str]:
    place = group.place
    names = ", ".join(group.names[:_MOST_NAMES])
    more = f" and {group.count - _MOST_NAMES:,} more" if group.count > _MOST_NAMES else ""
    doing = f" ({', '.join(group.doing)})" if group.doing else ""
    if place is None:
        yield f"{group.count:>9,}  {nowhere}: {names}{more}{doing}"
        return
    yield f"{group.count:>9,}  {place}{'' if group.own else ', no code of the application'}"
    if place.source_line:
        yield f"             {place.source_line}"
    yield f"           {names}{more}{doing}"


def _gil(shown: Overview) -> Iterator[str]:
    gil = shown.gil
    wait = "waits" if gil and gil.waiting == 1 else "wait"
    waiting = f"; {_count(gil.waiting, 'thread')} {wait} for it" if gil and gil.waiting else ""
    for holder in gil.holders if gil else ():
        yield f"GIL        {holder}, and holds it{waiting}"
    if gil and not gil.holders:
        yield f"GIL        no thread holds it{waiting}"


def _requests(shown: Overview) -> Iterator[str]:
    for row in shown.requests[:_MOST_GROUPS]:
        method = f" {row.method}" if row.method else ""
        yield f"request    {row.protocol}{method} {row.target}"
        yield f"           {row.worker} at {row.place or 'an unknown place'}"
    if rest := shown.requests[_MOST_GROUPS:]:
        yield f"           and {len(rest):,} more"


def _heap(shown: Overview) -> Iterator[str]:
    heap = shown.heap
    if heap is None:
        return
    yield f"objects    {heap.count:,}, {show_size(heap.size)}"
    for row in heap.types[:_MOST_TYPES]:
        yield f"{row.count:>9,}  {show_size(row.size):>9}  {row.type}"
    if heap.other_malloc is not None:
        yield from _wrapped(_INDENT, about_malloc(heap.other_malloc))
    large = (holder for holder in heap.holders if holder.retained >= heap.size * _LARGE_SHARE)
    for holder in islice(large, _MOST_HOLDERS):
        yield f"kept alive {show_size(holder.retained):>9}  by {holder.way}"


def _packages(shown: Overview) -> Iterator[str]:
    if shown.packages:
        names = ", ".join(f"{name} {version}" for name, version in shown.packages.items())
        yield from _wrapped("packages   ", names)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
