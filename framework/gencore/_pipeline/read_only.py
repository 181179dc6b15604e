"""Makes what collectors are shown of a dump read-only, its mappings too."""

from copy import copy
from typing import Any, NoReturn

import attrs

__all__ = ["read_only"]


class _ReadOnly(dict[str, Any]):
    """A dict as it is; unlike a mapping proxy one that `json` writes. A copy of it is a dict."""

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("what is shown of a dump is read-only")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def read_only(value: Any) -> Any:
    """Return *value* with mappings that cannot be changed, in lists and in our classes too.

    Types are compared, and nothing asked for its class: it may be an error of a plug-in's.
    """
    if type(value) is dict:
        return _ReadOnly({key: read_only(item) for key, item in value.items()})
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
