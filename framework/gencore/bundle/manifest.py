"""Parses manifests in which any value may be missing, of the wrong type, or absurd."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gencore.errors import IntegrityError

__all__ = ["LARGEST_MANIFEST", "ManifestValue", "parse_manifest"]

LARGEST_MANIFEST: Final = 16 << 20
"""Bytes; the collector that writes manifests has the same limit."""
_DEEPEST: Final = 100
"""Levels of a manifest; ours have about eight, and what annotations add."""
_LARGEST: Final = 1 << 64
"""No size, count or address is larger; and Python writes no number of thousands of digits."""


class ManifestValue:
    """One value of a manifest. Each property is None, or empty, if the value does not fit it."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, key: str) -> "ManifestValue":
        """Return the value at *key*, which may be missing."""
        return ManifestValue(self._value.get(key) if isinstance(self._value, Mapping) else None)

    def __iter__(self) -> Iterator["ManifestValue"]:
        """Iterate over the rows of a list."""
        return iter(self.rows)

    def __str__(self) -> str:
        return self.text or "unknown"

    @property
    def known(self) -> bool:
        """Whether the value is present, of any type."""
        return self._value is not None

    @property
    def rows(self) -> list["ManifestValue"]:
        """The rows of a list."""
        return [ManifestValue(row) for row in self._value] if isinstance(self._value, list) else []

    @property
    def entries(self) -> list[tuple[str, "ManifestValue"]]:
        """The keys and values of an object."""
        pairs = self._value.items() if isinstance(self._value, Mapping) else ()
        return [(str(ManifestValue(key)), ManifestValue(value)) for key, value in pairs]

    @property
    def text(self) -> str | None:
        """A non-empty string, or a number or boolean as text."""
        if isinstance(self._value, str):
            return self._value or None
        if isinstance(self._value, bool):
            return "yes" if self._value else "no"
        return None if self.number is None else str(self.number)

    @property
    def number(self) -> float | None:
        """A number that is neither infinite nor absurdly large."""
        if isinstance(self._value, bool) or not isinstance(self._value, int | float):
            return None
        return self._value if -_LARGEST <= self._value <= _LARGEST else None  # no NaN is

    @property
    def amount(self) -> float | None:
        """A number that is not negative: a size, a count, a time."""
        return self.number if self.number is not None and self.number >= 0 else None

    @property
    def address(self) -> str | None:
        """An address as text, hexadecimal: JSON's numbers lose bits of large ones."""
        return None if self.amount is None else f"{int(self.amount):#x}"


def parse_manifest(data: bytes) -> dict[str, Any]:
    """Return a manifest's content. Raises `IntegrityError` unless it is a JSON object.

    A number that is not finite becomes None: JSON has none, and what commands print is JSON.
    """
    if len(data) > LARGEST_MANIFEST:
        raise IntegrityError(f"the manifest is larger than {LARGEST_MANIFEST >> 20} MiB")
    try:
        found = json.loads(data, parse_float=_finite, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"the manifest is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise IntegrityError("the manifest is not a JSON object")
    if _is_deeper(found, _DEEPEST):
        raise IntegrityError(f"the manifest is nested more than {_DEEPEST} levels deep")
    return found


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_deeper(found: Any, levels: int) -> bool:
    """Whether JSON is nested so deeply that serializing it again may exhaust the stack."""
    level = [found]
    for _ in range(levels):
        values = (value.values() if isinstance(value, dict) else value for value in level)
        level = [below for row in values for below in row if isinstance(below, dict | list)]
    return bool(level)
