"""Adds the directive ``rows`` to Sphinx: a table whose rows stand in the source and nowhere else.

Its argument is a constant, or a function of this module; its content is the head of the table in
Markdown, and a pattern for each row, filled in by the names of the row's attributes.
"""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import gencore


class Error(NamedTuple):
    """One class of the tree of errors."""

    name: str
    bases: str
    code: int
    meaning: str


def errors() -> list[Error]:
    """Return every error of gencore, each base before what it is a base of."""
    return list(_errors_below(gencore.GencoreError))


def _errors_below(error: type[gencore.GencoreError]) -> Iterator[Error]:
    bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
    meaning = " ".join(inspect.getdoc(error).split())
    yield Error(error.__name__, bases, error.exit_code, meaning)
    for below in sorted(error.__subclasses__(), key=lambda below: below.exit_code):
        if below.__name__ in gencore.__all__:
            yield from _errors_below(below)


class Rows(SphinxDirective):
    """A table of the rows that a constant holds, or that a function returns."""

    required_arguments = 1
    has_content: ClassVar[bool] = True

    def run(self) -> list[Node]:
        """Fill in the pattern, and read what comes of it as the page's own text."""
        *head, pattern = self.content
        rows = (pattern.format_map(_Attributes(row)) for row in self._rows())
        return self.parse_text_to_nodes("\n".join((*head, *rows)))

    def _rows(self) -> Any:
        module, _, name = self.arguments[0].rpartition(".")
        found = getattr(import_module(module), name)
        return found() if inspect.isfunction(found) else found


class _Attributes(dict[str, Any]):
    def __init__(self, row: object) -> None:
        self._row = row

    def __missing__(self, name: str) -> object:
        return getattr(self._row, name)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("rows", Rows)
