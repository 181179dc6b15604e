"""The section ``environment``: the few variables that explain behaviour and hold no secret."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["section"]

_ALLOWED: Final = (
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NUMERIC",
    "LC_TIME",
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONNOUSERSITE",
    "PYTHONOPTIMIZE",
    "PYTHONSAFEPATH",
    "PYTHONTRACEMALLOC",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
    "PYTHON_GIL",
    "PYTHON_JIT",
    "TZ",
)
_MAX_VALUE: Final = 256
"""Characters. What is longer than any sensible value of these is counted with the others."""


def section(environ: Mapping[str, str], number: int) -> dict[str, Any]:
    """Return it, with values out of *environ*; *number* is how many variables there are.

    Asks for one variable at a time: other threads may change the rest meanwhile.
    """
    values = {name: environ.get(name) for name in _ALLOWED}
    allowed = {n: v for n, v in values.items() if v is not None and len(v) <= _MAX_VALUE}
    return {"allowed": allowed, "redacted": max(0, number - len(allowed))}
