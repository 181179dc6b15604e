"""Writes a manual page for each command of gencore, from what its ``--help`` says.

python docs/man_pages.py DIRECTORY
"""

import inspect
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from gencore import ExitCode, __version__
from gencore.cli import gencore

ROOT = click.Context(gencore, info_name="gencore", **gencore.context_settings)


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command, and of each below it."""
    yield context
    for name, command in _commands(context):
        yield from contexts(click.Context(command, info_name=name, parent=context))


def _commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    group = context.command
    for name in group.list_commands(context) if isinstance(group, click.Group) else ():
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield name, command


def name_of(context: click.Context) -> str:
    """Return the name of a command's page: ``gencore-plugins-show``."""
    above = "" if context.parent is None else f"{name_of(context.parent)}-"
    return f"{above}{context.info_name}"


def page(context: click.Context) -> str:
    """Return the page of a command, as man(7) knows it."""
    lines = "\n".join(_lines(context))
    return lines + "\n"


def _lines(context: click.Context) -> Iterator[str]:
    name, command = name_of(context), context.command
    description, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    summary, *paragraphs = description.strip().split("\n\n")
    today = f"{datetime.now(UTC):%F}"
    yield f'.TH {_escaped(name.upper())} 1 {today} "gencore {__version__}" "Manual of gencore"'
    yield from (".SH NAME", rf"{_escaped(name)} \- {_escaped(summary.removesuffix('.'))}")
    yield from (".SH SYNOPSIS", f".B {_escaped(name.replace('-', ' '))}")
    yield _escaped(" ".join(command.collect_usage_pieces(context)))
    if paragraphs:
        yield ".SH DESCRIPTION"
        yield "\n.PP\n".join(map(_escaped, paragraphs))
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    yield from _terms("OPTIONS", (record for record in records if record and record[1]))
    yield from _terms("COMMANDS", ((n, c.get_short_help_str(200)) for n, c in _commands(context)))
    yield from _terms("EXIT STATUS", ((str(int(code)), code.meaning) for code in ExitCode))
    yield from (".SH EXAMPLES", ".nf", _escaped(inspect.cleandoc(examples)), ".fi")
    yield ".SH SEE ALSO"
    related = [context.parent] if context.parent else []
    related += [click.Context(c, info_name=n, parent=context) for n, c in _commands(context)]
    references = (f".BR {_escaped(name_of(other))} (1)" for other in related)
    yield "\n".join(references)


def _terms(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a section in which each term has its text below it, if there are any."""
    lines = [
        line for term, text in rows for line in (".TP", f".B {_escaped(term)}", _escaped(text))
    ]
    if lines:
        yield from (f".SH {title}", *lines)


def _escaped(text: str) -> str:
    """Return text that no line of is taken for a request, with hyphens that can be pasted."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(rf"\&{line}" if line[:1] in {".", "'"} else line for line in text.split("\n"))


def main(directory: Path) -> None:
    """Write all pages into a directory, which is made if it does not exist."""
    directory.mkdir(parents=True, exist_ok=True)
    for context in contexts(ROOT):
        (directory / f"{name_of(context)}.1").write_text(page(context), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
