"""What is said of an installed plug-in: one row in a list, or all of it."""

import inspect
import math
import reprlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gencore._pipeline.selection import verdict_of, why_not_default
from gencore._plugins import loader
from gencore._plugins.entry import Family
from gencore._settings.plugin_options import Option, PluginOptions, read_options

__all__ = ["Row", "describe", "row_of", "rows_of"]

Row = dict[str, Any]

_SHOWN_ABOVE: Final = {"name", "api_version"}
_JSON_TYPES: Final = (str, int, float, bool, type(None))


def rows_of(family: Family) -> list[Row]:
    """Return a row for each installed plug-in of a family."""
    return [row_of(plugin) for plugin in loader.load_all(family)]


def row_of(plugin: loader.LoadedPlugin) -> Row:
    """Return where a plug-in is from, and whether it can be used here."""
    row: Row = {**plugin.as_dict(), "remedy": plugin.remedy}
    if plugin.status == "ok" and _is_asked(plugin):
        verdict = verdict_of(plugin)
        unnamed = why_not_default(plugin.entry)
        if not verdict.ok:
            row["status"] = "unsupported"
            row["reason"] = "; ".join(reason.text for reason in verdict.reasons)
            row["remedy"] = "; ".join(r.remedy for r in verdict.reasons if r.remedy) or None
        elif unnamed is not None:
            row.update(status="unnamed", reason=unnamed.text, remedy=unnamed.remedy)
    return row


def _is_asked(plugin: loader.LoadedPlugin) -> bool:
    """Whether it can say if it works here: a backend of other processes must know which."""
    dumps_others = getattr(plugin.plugin, "dumps_others", False)
    return plugin.entry.family == "backend" and not dumps_others


def describe(plugin: loader.LoadedPlugin) -> Row:
    """Return the row with the class's description, options and attributes, if it was loaded."""
    cls = plugin.plugin
    contract = None if cls is None else loader.CONTRACTS.get(plugin.entry.family)
    options = PluginOptions(named={}) if contract is None else read_options(cls)
    named = {} if contract is None else inspect.get_annotations(contract)
    attributes = [name for name in named if name not in _SHOWN_ABOVE]
    return {
        **row_of(plugin),
        "description": None if cls is None else _read(lambda: _first_paragraph(cls)),
        "options": [_describe_option(option) for option in options.named.values()],
        "other_options": None if options.others is None else options.others.expected,
        "attributes": {name: _read(partial(getattr, cls, name)) for name in attributes},
    }


def _describe_option(option: Option) -> Row:
    return {
        "name": option.name,
        "type": option.expected,
        "required": option.required,
        "default": None if option.required else _read(lambda: option.default),
    }


def _first_paragraph(cls: type) -> str:
    paragraph = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def _is_odd(value: object) -> bool:
    """Whether it is a float that JSON does not have."""
    return isinstance(value, float) and not math.isfinite(value)


def _read(read: Callable[[], object]) -> Any:
    """Return what JSON can hold of a value that a plug-in's own code may make."""
    try:
        value = read()
        if isinstance(value, tuple) and all(type(part) is str for part in value):
            return list(value)
        is_json = isinstance(value, _JSON_TYPES) and not _is_odd(value)
        return value if is_json else reprlib.repr(value)
    except Exception as error:
        return f"({loader.how_raised(error)})"
