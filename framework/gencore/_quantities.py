"""Reads sizes and ages as people write them, and writes sizes: ``20 GiB``, ``7d``."""

import re
from collections.abc import Mapping
from typing import Final

from gencore.errors import UsageError

__all__ = ["read_age", "read_size", "show_size", "size_text"]

_SIZES: Final[Mapping[str, int]] = {
    "": 1,
    "B": 1,
    **{unit: 1000 ** (power + 1) for power, unit in enumerate(("kB", "MB", "GB", "TB"))},
    **{unit: 1024 ** (power + 1) for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"))},
}
_BINARY: Final = ("TiB", "GiB", "MiB", "KiB")
_THREE_DIGITS: Final = 100
_AGES: Final[Mapping[str, int]] = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", re.ASCII)
_LARGEST: Final = 2.0**63


def read_size(value: object) -> int:
    """Return bytes; a number is one of bytes. Raises `UsageError`."""
    return int(_read(value, _SIZES, "size", "500 MiB"))


def read_age(value: object) -> float:
    """Return seconds; a number is one of seconds. Raises `UsageError`."""
    return _read(value, _AGES, "duration", "7d")


def show_size(size: int) -> str:
    """Return bytes in the largest binary unit of which there is one, to three digits."""
    unit = next((unit for unit in _BINARY if size >= _SIZES[unit]), "B")
    quantity = size / _SIZES[unit]
    return f"{quantity:,.0f} {unit}" if quantity >= _THREE_DIGITS else f"{quantity:.3g} {unit}"


def size_text(size: int) -> str:
    """Return bytes as MiB, in which sizes are easily compared; what is smaller than one as is."""
    return show_size(size) if size < _SIZES["MiB"] else f"{size / _SIZES['MiB']:,.1f} MiB"


def _read(value: object, units: Mapping[str, int], what: str, example: str) -> float:
    parts = _QUANTITY.fullmatch(str(value)) if type(value) in {int, float, str} else None
    if parts is None or parts[2] not in units:
        known = ", ".join(filter(None, units))
        raise UsageError(
            f"invalid {what}: {value!r} (expected a number and one of {known})",
            remedy=f"write it like this: {example!r}",
        )
    quantity = float(parts[1]) * units[parts[2]]
    if not 0 < quantity < _LARGEST:
        raise UsageError(
            f"invalid {what}: {value!r} (out of range)", remedy=f"write one like {example!r}"
        )
    return quantity
