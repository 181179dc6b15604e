"""Decodes the line table of a code object, ``co_linetable``, as CPython 3.11 and later write it.

The format is described in Objects/locations.md, since 3.13 InternalDocs/code_objects.md, of
CPython's sources: entries of a first byte with bit 7 set, whose bits 3-6 are the form and bits 0-2
the number of code units less one, followed by bytes without bit 7.
"""

from collections.abc import Iterator
from typing import Final

__all__ = ["line_at"]

_UNIT: Final = 2
"""Bytes of a code unit."""
_FIRST, _CONTINUES, _VALUE = 0x80, 0x40, 0x3F
_NO_LOCATION, _LONG, _NO_COLUMNS, _ONE_LINE = 15, 14, 13, range(10, 13)


def line_at(table: bytes, first_line: int, offset: int) -> int | None:
    """Return the line of the instruction at *offset*, in bytes; None if it has none.

    An offset before the first instruction is that of a function that has not begun.
    """
    if offset < 0:
        return first_line
    line, end = first_line, 0
    for form, units, delta in _entries(table):
        line, end = line + delta, end + units * _UNIT
        if offset < end:
            return None if form == _NO_LOCATION else line
    return None


def _entries(table: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield of each entry the form, the number of code units, and how far the line moves."""
    at = 0
    while at < len(table):
        head = table[at]
        at += 1
        begin = at
        while at < len(table) and not table[at] & _FIRST:
            at += 1
        form = head >> 3 & 15
        yield form, (head & 7) + 1, _moved(form, table[begin:at])


def _moved(form: int, rest: bytes) -> int:
    if form in _ONE_LINE:
        return form - _ONE_LINE.start
    if form not in {_LONG, _NO_COLUMNS}:
        return 0
    number = _number(rest)
    return -(number >> 1) if number & 1 else number >> 1


def _number(data: bytes) -> int:
    """Return the number at the beginning, six bits in each byte, the lowest first."""
    value = 0
    for place, byte in enumerate(data[:6]):
        value |= (byte & _VALUE) << 6 * place
        if not byte & _CONTINUES:
            break
    return value
