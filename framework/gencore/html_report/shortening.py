"""Limits what a page shows of a manifest that has more values than any honest one."""

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

__all__ = ["MOST_VALUES", "shorten"]

MOST_VALUES: Final = 400_000
"""Values that a page shows: a row of a list costs a few bytes in JSON, and hundreds in HTML."""


def shorten(manifest: Mapping[str, Any], most: int = MOST_VALUES) -> tuple[dict[str, Any], bool]:
    """Return the first *most* values, outer ones before inner ones, and whether there are more."""
    shown: dict[str, Any] = {}
    waiting: deque[tuple[Any, Any]] = deque([(manifest, shown)])
    more = False
    while waiting:
        source, copy = waiting.popleft()
        keys = islice(source if isinstance(source, Mapping) else range(len(source)), most)
        made = [(key, _emptied(source[key])) for key in keys]
        most -= len(made)
        more = more or len(made) < len(source)
        waiting += ((source[key], value) for key, value in made if value is not source[key])
        copy.update(made) if isinstance(copy, dict) else copy.extend(value for _, value in made)
    return shown, more


def _emptied(value: Any) -> Any:
    """Return an empty list or object for one with rows, else the value."""
    return type(value)() if isinstance(value, list | dict) and value else value
