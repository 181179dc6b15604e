"""Reads the tar headers of a bundle: strictly, and in time that is linear in their length.

Formats: POSIX.1-2001, pax, "ustar Interchange Format" and "pax Extended Header". A bundle has one
regular file a header, with a pax header before it if its path or size does not fit. Anything else
that readers of tar know (links, sparse files, global headers, GNU's long names) is refused.
"""

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from gencore.errors import IntegrityError

__all__ = ["BLOCK", "LARGEST_HEADER", "Header", "read_header"]

BLOCK: Final = 512
"""Bytes. Headers and files are padded to a multiple of it."""
_LARGEST_PAX: Final = 64 << 10
"""Bytes of a pax header, at most: a path has at most 4,096."""
LARGEST_HEADER: Final = 3 * BLOCK + _LARGEST_PAX
"""Bytes of a header, at most, with the pax header before it."""
_REGULAR, _PAX = b"0", b"x"
_UNUSED: Final = ((100, 108), (108, 116), (116, 124), (136, 148))
"""Numbers: mode, owner, group, time. At an invalid one Python's tarfile ends the archive."""
_DEVICE: Final = slice(329, 345)
_RECORDS: Final = {b"path", b"size", b"hdrcharset"}
"""What a pax header may say; the last only that a path is no UTF-8."""


@attrs.frozen
class Header:
    """What a bundle's tar says of one file."""

    name: str
    size: int
    """Bytes."""


def read_header(read: Callable[[int], bytes]) -> Header:
    """Read one, with the pax header before it; *read* returns exactly so many bytes.

    Raises `IntegrityError`.
    """
    block = read(BLOCK)
    records: dict[bytes, bytes] = {}
    if _kind(block) == _PAX:
        size = _octal(block[124:136])
        if size > _LARGEST_PAX:
            raise IntegrityError(f"pax header of {size:,} bytes; the limit is {_LARGEST_PAX:,}")
        padded = read(size + -size % BLOCK)
        if any(padded[size:]):
            raise _invalid("padding")
        records = dict(_records(padded[:size]))
        block = read(BLOCK)
    if _kind(block) != _REGULAR or any(block[157:257]):
        raise IntegrityError("a member is not a regular file")
    name = records.get(b"path", _name(block)).decode(errors="surrogateescape")
    if b"path" in records and b"hdrcharset" not in records and not _is_text(name):
        raise _invalid("path that is not UTF-8")  # which others do not convert
    return Header(name, _size(block, records))


def _invalid(what: str) -> IntegrityError:
    return IntegrityError(f"invalid tar header: {what}")


def _kind(block: bytes) -> bytes:
    """Return the type of a header whose check sum and magic are right."""
    if not any(block):
        raise IntegrityError("the archive ends before the last member of its table of contents")
    if block[257:265] != b"ustar\x0000":
        raise _invalid("magic")
    if sum(block[:148]) + 8 * ord(" ") + sum(block[156:]) != _octal(block[148:156]):
        raise _invalid("check sum")
    for begin, end in _UNUSED:
        _octal(block[begin:end])
    if block[_DEVICE].strip(b"\x000") or any(block[500:]):
        raise _invalid("device or padding")
    return block[156:157]


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ")
    if not digits.isdigit() or not set(digits).isdisjoint(b"89"):
        raise _invalid("number")
    return int(digits, 8)


def _text(field: bytes) -> bytes:
    text, _, rest = field.partition(b"\0")
    if any(rest):
        raise _invalid("text")
    return text


def _is_text(name: str) -> bool:
    """Whether it has no byte that was not UTF-8."""
    return all(not "\ud800" <= character <= "\udfff" for character in name)


def _name(block: bytes) -> bytes:
    prefix, name = _text(block[345:500]), _text(block[:100])
    if not name:  # with a prefix, others read the name of a directory
        raise _invalid("name")
    return b"/".join(part for part in (prefix, name) if part)


def _size(block: bytes, records: dict[bytes, bytes]) -> int:
    size = _octal(block[124:136])  # others read it even if another follows
    text = records.get(b"size")
    if text is None:
        return size
    if not text.isdigit() or len(text) > len(str(1 << 63)):
        raise _invalid("number")
    return int(text)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each record: its length in decimal, a space, key=value, a newline."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + len(str(_LARGEST_PAX)) + 1)
        length = data[at:space]
        end = at + int(length) if space > at and length.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not at < space < end <= len(data) or data[end - 1] != ord("\n") or not equals:
            raise _invalid("pax record")
        if key not in _RECORDS or (key == b"hdrcharset" and value != b"BINARY"):
            raise IntegrityError("a member is not a regular file of a bundle (pax record)")
        yield key, value
        at = end
