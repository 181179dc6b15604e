"""Reads a manifest in which any value may be missing, of another type, or absurd."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["Field"]

_LARGEST: Final = 1 << 64
"""No size, count or address is larger; and Python writes no number of thousands of digits."""


class Field:
    """One place in a manifest. Each property gives None, or nothing, where it does not fit."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, key: str) -> "Field":
        """Return what is at *key*, be there something or not."""
        return Field(self._value.get(key) if isinstance(self._value, Mapping) else None)

    def __iter__(self) -> Iterator["Field"]:
        """Iterate over the rows of a list."""
        return iter(self.rows)

    def __str__(self) -> str:
        return self.text or "unknown"

    @property
    def known(self) -> bool:
        """Whether there is a value of any type."""
        return self._value is not None

    @property
    def rows(self) -> list["Field"]:
        """The rows of a list."""
        return [Field(row) for row in self._value] if isinstance(self._value, list) else []

    @property
    def entries(self) -> list[tuple[str, "Field"]]:
        """The keys and values of an object."""
        pairs = self._value.items() if isinstance(self._value, Mapping) else ()
        return [(str(Field(key)), Field(value)) for key, value in pairs]

    @property
    def text(self) -> str | None:
        """A text that is not empty, or a number or truth value as text."""
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
