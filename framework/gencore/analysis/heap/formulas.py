"""Computes ``__sizeof__`` of many objects of one type at once, for each type that has its own.

The sources are the functions ``*_sizeof`` of CPython's Objects/ and Modules/, and of numpy's
ndarray.
"""

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.inspection.objects import SIZE_AT
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Mask, Things, Words

__all__ = [
    "BYTEARRAYS_OF_BYTES",
    "FORMULAS",
    "Formula",
    "Kind",
    "Numbers",
    "are_compact",
    "text",
    "with_items",
]

Numbers = NDArray[np.int64]
Formula = Callable[["Kind", Things], Numbers]

_WORD: Final = 8
_COMPACT: Final = np.uint64(1 << 5)
"""A bit of the state of a str."""
_LARGEST: Final = 1 << 47
"""Bytes: no process has more."""
_LONGEST_TEXT: Final = 1 << 12
"""Bytes of a text of C that are looked at for its end."""
_MOST_CODES: Final = 1 << 8
"""Of a struct.Struct that are looked at for the last one."""
_MOST_DIMENSIONS: Final = 64
"""Of numpy's arrays."""
_NEW_INTS: Final = 12
"""The first minor version whose ints have their sign and length in one word."""
_OLD_INT: Final = 24
"""Bytes of the earlier ones without digits, those of subclasses too."""
BYTEARRAYS_OF_BYTES: Final = 15
"""The first minor version whose bytearrays have a bytes object, of which these are the head:"""
_BYTES_HEAD: Final = 33
_DICT: Final = 48
"""Bytes of a dictionary without its keys."""
_DESCRIPTIONS: Final = {
    11: (168, 88),
    12: (168, 88),
    13: (1064, 976),
    14: (1088, 992),
    15: (1088, 992),
}
"""Where a type of ctypes has its format and the elements of its ``ffi_type``, by the minor
version. Until 3.12 they are in its dictionary, ``StgDictObject``; then it has a ``StgInfo``."""


@attrs.frozen
class Kind:
    """One type, and the memory in which its objects are."""

    words: Words
    python: Python
    basic_size: int
    item_size: int

    def at(self, addresses: Addresses, offset: int = 0) -> Numbers:
        """Return the words at an offset of each address; 0 where there is none."""
        return self.words.at(addresses + np.uint64(offset))[0].view(np.int64)


def with_items(kind: Kind, things: Things) -> Numbers:
    """Return what ``object.__sizeof__`` does: tuple and bytes have it too."""
    if not kind.item_size:
        return np.full(len(things), kind.basic_size)
    return kind.basic_size + kind.item_size * np.abs(things.number(SIZE_AT))


def _list(kind: Kind, things: Things) -> Numbers:
    return kind.basic_size + _WORD * things.number(32)


def _int(kind: Kind, things: Things) -> Numbers:
    word = things.number(SIZE_AT)
    if kind.python.minor < _NEW_INTS:
        head, digits = _OLD_INT, np.maximum(np.abs(word), 1)
    else:
        head, digits = kind.basic_size, np.maximum(word >> 3, 1)
    size: Numbers = head + kind.item_size * digits
    return size


def text(kind: Kind, things: Things) -> Numbers:
    """Return what a str has, in as many blocks as it is."""
    layout = kind.python.layout
    length, state = things.number(SIZE_AT), things.number(32)
    width, ascii_only = state >> 2 & 7, state >> 6 & 1
    content = (length + 1) * width
    utf8_size, utf8 = things.number(layout.ascii_head), things.number(layout.ascii_head + 8)
    shared = (ascii_only == 1) | (utf8 == 0) | (utf8 == things.number(layout.text_head))
    more = np.where(shared, 0, utf8_size + 1)
    head = np.where(ascii_only == 1, layout.ascii_head, layout.text_head)
    return np.where(are_compact(things), head, layout.text_head + _WORD) + content + more


def are_compact(things: Things) -> Mask:
    """Return which texts are in one block with their characters; those of subclasses are not."""
    compact: Mask = things.word(32) & _COMPACT != 0
    return compact


def _keys(kind: Kind, keys: Addresses) -> Numbers:
    """Return the sizes of tables of keys, ``PyDictKeysObject``."""
    logs = kind.at(keys, 8)
    entries = 2 * (1 << np.minimum(logs & 0xFF, 62)) // 3
    entry = np.where(logs >> 16 & 0xFF == 0, 24, 16)
    size: Numbers = 32 + (1 << np.minimum(logs >> 8 & 0xFF, 62)) + entries * entry
    return size


def _dict(kind: Kind, things: Things) -> Numbers:
    keys = things.word(32)
    own = np.where(kind.at(keys) == 1, _keys(kind, keys), 0)
    values = np.where(things.number(40) != 0, _WORD * (kind.at(keys, 16) + kind.at(keys, 24)), 0)
    return kind.basic_size + own + values


def _ordered_dict(kind: Kind, things: Things) -> Numbers:
    node = 4 * _WORD
    return _dict(kind, things) + _WORD * things.number(72) + node * things.number(16)


def _set(kind: Kind, things: Things) -> Numbers:
    outside = things.word(40) != things.addresses + np.uint64(64)
    return kind.basic_size + np.where(outside, 2 * _WORD * (things.number(32) + 1), 0)


def _bytearray(kind: Kind, things: Things) -> Numbers:
    size = things.number(24)
    head = _BYTES_HEAD if kind.python.minor >= BYTEARRAYS_OF_BYTES else 0
    return kind.basic_size + size + np.where(size > 0, head, 0)


def _array(kind: Kind, things: Things) -> Numbers:
    item = kind.at(things.word(40)) >> 32 & 0xFFFFFFFF
    return kind.basic_size + item * things.number(32)


def _deque(kind: Kind, things: Things) -> Numbers:
    block, rows = 66 * _WORD, 64
    blocks = (things.number(40) + things.number(SIZE_AT) + rows - 1) // rows
    size: Numbers = kind.basic_size + block * np.maximum(blocks, 1)
    return size


def _ndarray(kind: Kind, things: Things) -> Numbers:
    owns = things.number(48) == 0
    count = np.ones(len(things), np.int64)
    dimensions, shape = things.number(24) & 0xFF, things.word(32)
    for number in range(min(int(np.max(dimensions, initial=0)), _MOST_DIMENSIONS)):
        length = kind.at(shape, number * _WORD)
        count = np.minimum(count * np.where(dimensions > number, length, 1), _LARGEST)
    item = kind.at(things.word(56), 40)
    return kind.basic_size + np.where(owns, np.minimum(item * count, _LARGEST), 0)


def _buffered(kind: Kind, things: Things) -> Numbers:
    return kind.basic_size + np.where(things.word(56) != 0, things.number(120), 0)


def _generator(kind: Kind, things: Things) -> Numbers:
    layout = kind.python.layout
    frame = kind.basic_size - layout.locals_of_frame
    code = things.word(frame + layout.code_of_frame) & np.uint64(~7 & 0xFFFFFFFFFFFFFFFF)

    def small(offset: int) -> Numbers:
        """Return the number of 32 bits there; the word that has it begins at a multiple of 8."""
        return kind.at(code, offset & ~7) >> 8 * (offset & 7) & 0xFFFFFFFF

    return kind.basic_size + _WORD * (small(layout.slots_of_code) + small(layout.stack_of_code))


def _code(kind: Kind, things: Things) -> Numbers:
    return with_items(kind, things) + 7 & ~7


def _type(kind: Kind, things: Things) -> Numbers:
    cached = kind.python.layout.qualified_name_of_type + _WORD
    keys = things.word(cached)
    return kind.basic_size + np.where(keys != 0, _keys(kind, keys), 0)


def _struct(kind: Kind, things: Things) -> Numbers:
    code = 4 * _WORD
    codes, count = things.word(32), np.ones(len(things), np.int64)
    going = np.flatnonzero(codes)
    for number in range(_MOST_CODES):
        going = going[kind.at(codes[going], number * code) != 0]
        if not len(going):
            break
        count[going] += 1
    size: Numbers = kind.basic_size + code * count
    return size


def _dict_of_c_type(kind: Kind, things: Things) -> Numbers:
    return _dict(kind, things) + kind.basic_size - _DICT + _description(kind, things)


def _c_type(kind: Kind, things: Things) -> Numbers:
    return kind.basic_size + _description(kind, things)


def _description(kind: Kind, things: Things) -> Numbers:
    """Return the bytes of what ctypes describes a type with."""
    format_at, elements_at = _DESCRIPTIONS[kind.python.minor]
    written, elements = things.word(format_at), things.word(elements_at)
    fields, dimensions = things.number(elements_at - 3 * _WORD), things.number(format_at + _WORD)
    size = np.where(written != 0, _length_in_c(kind, written) + 1, 0)
    size += np.where(elements != 0, _WORD * (fields + 1), 0)
    size += _WORD * (dimensions & 0xFFFFFFFF)
    return size


def _length_in_c(kind: Kind, texts: Addresses) -> Numbers:
    """Return how many bytes are before the NUL of each text."""
    lengths, going = np.zeros(len(texts), np.int64), np.flatnonzero(texts)
    for at in range(0, _LONGEST_TEXT, _WORD):
        ends = kind.at(texts[going], at).view(np.uint8).reshape(-1, _WORD) == 0
        ended = ends.any(axis=1)
        lengths[going] += np.where(ended, ends.argmax(axis=1), _WORD)
        going = going[~ended]
        if not len(going):
            break
    return lengths


FORMULAS: Final[dict[str, Formula]] = {
    "list": _list,
    "int": _int,
    "str": text,
    "dict": _dict,
    "frozendict": _dict,
    "collections.OrderedDict": _ordered_dict,
    "set": _set,
    "frozenset": _set,
    "bytearray": _bytearray,
    "array.array": _array,
    "collections.deque": _deque,
    "numpy.ndarray": _ndarray,
    "_io.BufferedReader": _buffered,
    "_io.BufferedWriter": _buffered,
    "_io.BufferedRandom": _buffered,
    "generator": _generator,
    "coroutine": _generator,
    "async_generator": _generator,
    "code": _code,
    "type": _type,
    "_ctypes.CType_Type": _c_type,
    "StgDict": _dict_of_c_type,
    "_struct.Struct": _struct,
}
"""By the name of the type whose layout it is; what is not here has the size of its items."""
