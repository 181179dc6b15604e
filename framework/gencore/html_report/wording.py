"""Formats values for a reader: sizes, times, and text that may be hostile."""

from datetime import UTC, datetime
from typing import Any, Final

from gencore._escaping import escape_unprintable
from gencore.bundle.manifest import ManifestValue

__all__ = ["count", "instant", "milliseconds", "percent", "shown", "size", "visible"]

_UNKNOWN: Final = "unknown"
_LONGEST: Final = 5000
"""Characters: more than the longest path."""
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_KIBI: Final = 1024
_THOUSAND: Final = 1000


def visible(text: str) -> str:
    """Return a text with every character visible, cut if it is too long."""
    cut = len(text) - _LONGEST
    text = f"{text[:_LONGEST]}… ({cut:,} more characters)" if cut > 0 else text
    return escape_unprintable(text)


def shown(value: Any) -> Any:
    """Return what a template shows of any value; markup stays as it is."""
    if hasattr(value, "__html__"):
        return value
    return visible(_UNKNOWN if value is None else str(value))


def size(value: "ManifestValue | float | None") -> str:
    """Return a number of bytes in the unit in which it has one to four digits."""
    number = _amount(value)
    if number is None:
        return _UNKNOWN
    if number < _KIBI:
        return "1 byte" if number == 1 else f"{number:.0f} bytes"
    power = min(_power(number), len(_UNITS))
    number, unit = number / _KIBI**power, _UNITS[power - 1]
    return f"{number:.3g} {unit}" if number < _THOUSAND else f"{number:,.0f} {unit}"


def _power(number: float) -> int:
    return 0 if number < _KIBI else 1 + _power(number / _KIBI)


def milliseconds(value: "ManifestValue | float | None") -> str:
    """Return a duration that is given in milliseconds."""
    number = _amount(value)
    if number is None:
        return _UNKNOWN
    return f"{number:,.2f} ms" if number < _THOUSAND else f"{number / _THOUSAND:,.2f} s"


def percent(share: float) -> str:
    """Return a share of 1."""
    smallest = 0.001
    return f"{share:.1%}" if share >= smallest or share == 0 else "< 0.1%"


def count(number: "ManifestValue | float | None", singular: str, plural: str = "") -> str:
    """Return a number with its noun."""
    amount = _amount(number)
    noun = singular if amount == 1 else plural or f"{singular}s"
    return f"{_UNKNOWN} {noun}" if amount is None else f"{amount:,.0f} {noun}"


def instant(value: ManifestValue) -> str:
    """Return an instant in UTC; text that is not a time is returned unchanged."""
    text = str(value)
    try:
        when = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return f"{when.day} {when:%B %Y, %H:%M:%S} UTC"


def _amount(value: "ManifestValue | float | None") -> float | None:
    return value.amount if isinstance(value, ManifestValue) else value
