"""Makes what collectors are shown of a dump read-only, its mappings too."""

from copy import copy
from types import MappingProxyType
from typing import Any

import attrs

__all__ = ["read_only"]


def read_only(value: Any) -> Any:
    """Return *value* with mappings that cannot be changed, in lists and in our classes too.

    Types are compared, and nothing asked for its class: it may be an error of a plug-in's.
    """
    if type(value) is dict:
        return MappingProxyType({key: read_only(item) for key, item in value.items()})
    if type(value) is list:
        return tuple(map(read_only, value))
    if type(value) is tuple and any(type(item) is dict for item in value):
        return tuple(map(read_only, value))
    return _with_read_only_fields(value) if attrs.has(type(value)) else value


def _with_read_only_fields(value: Any) -> Any:
    """Copy an object with mappings as it is: its own converters would copy them again."""
    names = [field.name for field in attrs.fields(type(value))]
    mappings = [name for name in names if type(getattr(value, name)) is dict]
    if not mappings:
        return value
    shown = copy(value)
    for name in mappings:
        object.__setattr__(shown, name, read_only(getattr(shown, name)))
    return shown
