"""Checks the names of plug-ins and suffixes of filters, before anything is named after them."""

import re
from typing import Any, Final

from gencore._runtime.foreign_errors import shown

__all__ = ["LONGEST_NAME", "check_name", "check_suffix", "is_name", "is_suffix"]

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME: Final = 64
_LONGEST_SUFFIX: Final = 32
"""Bytes: with a dump's and an artefact's name before it, less than the 255 of NAME_MAX."""


def is_name(name: Any) -> bool:
    """Return whether a plug-in can have this name."""
    return type(name) is str and len(name) <= LONGEST_NAME and bool(_NAME.fullmatch(name))


def is_suffix(suffix: Any) -> bool:
    """Return whether a filter can add this to the name of any file."""
    if type(suffix) is not str or not suffix.startswith(".") or not suffix.strip("."):
        return False
    short = len(suffix.encode(errors="surrogatepass")) <= _LONGEST_SUFFIX
    return short and suffix.isprintable() and "/" not in suffix


def check_name(name: Any) -> None:
    """Raise `ValueError` unless a plug-in can have this name."""
    if not is_name(name):
        expected = f"lower-case letters, digits and hyphens, {LONGEST_NAME} at most"
        raise ValueError(f"its name is {shown(name)}: expected {expected}")


def check_suffix(suffix: Any) -> None:
    """Raise `ValueError` unless a filter can add this to the name of any file."""
    if not is_suffix(suffix):
        expected = f"'.' and printable text without '/', {_LONGEST_SUFFIX} bytes at most"
        raise ValueError(f"its suffix is {shown(suffix)}: expected {expected}")
