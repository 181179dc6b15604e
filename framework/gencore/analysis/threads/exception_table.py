"""Decodes the exception table of a code object, ``co_exceptiontable``, of CPython 3.11 and later.

The format is described in Objects/exception_handling_notes.txt, since 3.13
InternalDocs/exception_handling.md, of CPython's sources: entries of four numbers of six bits a
byte, the highest first, where bit 6 says that another byte follows.
"""

from collections.abc import Iterator
from typing import Final

__all__ = ["depth_at"]

_UNIT: Final = 2
"""Bytes of a code unit."""
_CONTINUES, _VALUE = 0x40, 0x3F
_WITHOUT_LASTI: Final = 1
"""Bits of the fourth number before the depth."""


def depth_at(table: bytes, offset: int) -> int:
    """Return how many values the handler of the instruction at *offset*, in bytes, keeps.

    They are on the frame's stack as long as that instruction runs; 0 if it has no handler.
    """
    numbers = _numbers(table)
    for start, size, _, depth in zip(numbers, numbers, numbers, numbers, strict=False):
        if start <= offset // _UNIT < start + size:
            return depth >> _WITHOUT_LASTI
    return 0


def _numbers(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & _VALUE
        if not byte & _CONTINUES:
            yield value
            value = 0
