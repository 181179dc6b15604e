"""Adds the directive ``rows`` to Sphinx: a table whose rows stand in the source and nowhere else.

Its argument is a constant, or a function of this module and what that is given; its content is the
head of the table in Markdown, and a pattern for each row, filled in by the names of the row's
attributes.
"""

import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from importlib.resources import files
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


class Field(NamedTuple):
    """One field of what a command prints as JSON."""

    path: str
    """``a[].b`` is in each row of ``a``."""
    type: str
    meaning: str


def fields(command: str) -> list[Field]:
    """Return the fields of a command's schema, but for the version, which all have."""
    text = (files("gencore.cli") / "schemas" / f"{command}.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    found: dict[str, Field] = {}
    for field in _fields_below("", _resolved(schema["$defs"]["result"], schema), schema):
        first = found.setdefault(field.path, field)
        if first != field:  # rows of two kinds have it
            types = dict.fromkeys([first.type, field.type])
            meanings = dict.fromkeys([first.meaning, field.meaning])
            found[field.path] = Field(field.path, " or ".join(types), "; ".join(meanings))
    return [field for path, field in found.items() if path != "schema_version"]


def _fields_below(path: str, node: Any, schema: Any) -> Iterator[Field]:
    for kind in _kinds(node, schema):
        for name, found in kind.get("properties", {}).items():
            below = _resolved(found, schema)
            inner = f"{path}.{name}" if path else name
            meaning = below.get("description", "")
            yield Field(inner, _type_of(below, schema), meaning)
            yield from _fields_below(inner, below, schema)
        if "items" in kind:
            yield from _fields_below(f"{path}[]", _resolved(kind["items"], schema), schema)
        if isinstance(kind.get("additionalProperties"), dict):
            each = _resolved(kind["additionalProperties"], schema)
            yield from _fields_below(f"{path}.NAME", each, schema)


def _kinds(node: Any, schema: Any) -> list[Any]:
    """Return the schemas of which a value fulfils one."""
    several = node.get("anyOf") or node.get("oneOf")
    return [_resolved(one, schema) for one in several] if several else [node]


def _resolved(node: Any, schema: Any) -> Any:
    """Return a schema with what it refers to, whose description is the weaker one."""
    if "$ref" not in node:
        return node
    name = node["$ref"].rpartition("/")[2]
    named = {"type": name} if name == "instant" else schema["$defs"][name]
    return {**named, **node}


def _type_of(node: Any, schema: Any) -> str:
    names = []
    for kind in _kinds(node, schema):
        values = [f"`{value}`" for value in kind.get("enum", ())]
        types = kind.get("type", [])
        names += values or ([types] if isinstance(types, str) else types)
    return ", ".join(names)


class Rows(SphinxDirective):
    """A table of the rows that a constant holds, or that a function returns."""

    required_arguments = 1
    optional_arguments = 1
    has_content: ClassVar[bool] = True

    def run(self) -> list[Node]:
        """Fill in the pattern, and read what comes of it as the page's own text."""
        *head, pattern = self.content
        rows = (pattern.format_map(_Attributes(row)) for row in self._rows())
        return self.parse_text_to_nodes("\n".join((*head, *rows)))

    def _rows(self) -> Any:
        module, _, name = self.arguments[0].rpartition(".")
        found = getattr(import_module(module), name)
        return found(*self.arguments[1:]) if inspect.isfunction(found) else found


class _Attributes(dict[str, Any]):
    def __init__(self, row: object) -> None:
        self._row = row

    def __missing__(self, name: str) -> object:
        return getattr(self._row, name)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("rows", Rows)
