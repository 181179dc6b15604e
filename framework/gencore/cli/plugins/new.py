"""``gencore plugins new``: the package of a new plug-in, which passes its suite at once."""

import errno
import os
import re
import reprlib
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from shlex import quote
from string import Template
from typing import Final

import click

from gencore._plugins.catalogue import built_in_plugins
from gencore._plugins.entry import GROUPS, Family
from gencore._plugins.loader import API_CURRENT
from gencore._plugins.names import LONGEST_NAME, is_name
from gencore.cli.json_output import print_json
from gencore.cli.options import json_option
from gencore.errors import OutputError, UsageError

__all__ = ["new"]

_KINDS: Final[dict[str, Family]] = {
    "backend": "backend",
    "collector": "collector",
    "destination": "destination",
    "filter": "filter",
}
"""What can be written: each kind has a folder of templates, and is of a family of plug-ins."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RESERVED: Final = {group.removeprefix("gencore.") for group in GROUPS.values()}
"""Names whose modules are, or may become, gencore's own packages."""


@click.command()
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("name")
@click.option(
    "-o",
    "--output",
    "directory",
    default=".",
    type=click.Path(path_type=Path),
    help="Where the package's folder is made; else in the current directory.",
)
@json_option
def new(*, kind: str, name: str, directory: Path, as_json: bool) -> None:
    """Write the package of a new plug-in, with tests.

    NAME is the plug-in's name: lower-case letters, digits and hyphens. The folder is gencore-NAME,
    and must not exist.

    \b
    Examples:
      gencore plugins new collector heap-stats
    """
    _check_name(name)
    package = directory / f"gencore-{name}"
    try:
        _write(package, _files(kind, name))
    except OSError as error:
        what = "exists already" if error.errno == errno.EEXIST else "cannot be written"
        raise OutputError(
            str(package), error.errno or errno.EIO, what, remedy="name another directory with -o"
        ) from error
    path = package if package.is_absolute() else f".{os.sep}{package}"  # pip asks the index else
    commands = (
        f"pip install {quote(f'{path}[test]')}",
        f"pytest {quote(f'{path}{os.sep}tests')}",
    )
    if as_json:
        print_json({"path": package, "next": commands})
    else:
        click.echo(f"{package}: next, {' && '.join(commands)}")


def _write(package: Path, files_of_it: Iterator[tuple[str, str]]) -> None:
    """Write all of it or nothing."""
    package.mkdir()
    try:
        for path, text in files_of_it:
            (package / path).parent.mkdir(exist_ok=True)
            (package / path).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(package, ignore_errors=True)
        raise


def _check_name(name: str) -> None:
    if not (is_name(name) and _NAME.fullmatch(name)):
        raise UsageError(
            f"invalid name {reprlib.repr(name)}: expected a lower-case letter, then letters, "
            f"digits and hyphens, {LONGEST_NAME} at most",
            remedy="use a name such as heap-stats",
        )
    built_in = {entry.name for family in GROUPS for entry in built_in_plugins(family)}
    if name in built_in | _RESERVED:
        raise UsageError(f"the name {name!r} is gencore's own", remedy="choose another name")


def _files(kind: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of a package."""
    parts = name.split("-")
    class_parts = parts if len(parts) > 1 and parts[-1] == kind else [*parts, kind]
    words = {
        "kind": kind,
        "name": name,
        "group": GROUPS[_KINDS[kind]],
        "distribution": f"gencore-{name}",
        "module": f"gencore_{name.replace('-', '_')}",
        "cls": "".join(map(str.capitalize, class_parts)),
        "api_version": str(API_CURRENT),
    }
    paths = {
        "pyproject.toml": "package/pyproject.toml.in",
        "README.md": f"{kind}/README.md.in",
        f"{words['module']}.py": f"{kind}/module.py.in",
        f"tests/test_{words['module']}.py": f"{kind}/test_module.py.in",
    }
    templates = files("gencore.cli.plugins") / "templates"
    for path, template in paths.items():
        text = (templates / template).read_text(encoding="utf-8")
        yield path, Template(text).substitute(words)
