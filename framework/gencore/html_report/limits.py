"""Prepares the process's limits: names, units, and unlimited ones."""

from typing import Final

import attrs

from gencore.bundle.manifest import ManifestValue
from gencore.html_report.wording import size

__all__ = ["Limit", "read_limits"]

_NAMES: Final = {
    "as": "Address space",
    "core": "Core file size",
    "cpu": "CPU time",
    "data": "Data segment",
    "fsize": "File size",
    "memlock": "Locked memory",
    "nofile": "Open files",
    "nproc": "Processes and threads of the user",
    "rss": "Resident memory",
    "stack": "Main stack",
}
_COUNTED: Final = {"nofile": "", "nproc": "", "cpu": " s"}
"""Those that are not in bytes, with their unit."""


@attrs.frozen
class Limit:
    """One limit; without values if the platform lacks it."""

    key: str
    name: str
    values: tuple[str, ...]


def read_limits(limits: ManifestValue) -> list[Limit]:
    """Return the rows of a manifest's ``process.limits``."""
    return [Limit(key, _NAMES.get(key, key), _values(key, pair)) for key, pair in limits.entries]


def _values(key: str, pair: ManifestValue) -> tuple[str, ...]:
    return tuple(_value(key, pair[end]) for end in ("soft", "hard")) if pair.known else ()


def _value(key: str, limit: ManifestValue) -> str:
    """Return one value of a pair; null means unlimited."""
    if not limit.known:
        return "unlimited"
    if key not in _NAMES or limit.amount is None:
        return str(limit)
    return f"{limit.amount:,.0f}{_COUNTED[key]}" if key in _COUNTED else size(limit)
