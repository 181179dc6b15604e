"""Shows single objects that lead to no others, as their ``repr`` does, bounded.

Sources: the structures in Include/cpython/ and Include/internal/ of CPython 3.11 to 3.15. All of
them raise `AbsentMemory`.
"""

import struct
from collections.abc import Callable
from typing import Final

from gencore.analysis.inspection.objects import SIZE_AT, find_in_dict, read_text
from gencore.analysis.inspection.times import TIMES
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["SCALARS", "read_int"]

Shown = Callable[[Python, int, int], str]
_MOST_DIGITS: Final = 64
"""Of 30 bits: longer ints are described."""
_BITS: Final = 30
_OLD_INTS: Final = 11
"""The last minor version whose ints have the sign in ``ob_size``."""
_SIGN, _NEGATIVE, _LENGTH_SHIFT = 3, 2, 3
"""In ``lv_tag`` of later ones."""
_CONTENT_OF_BYTES_AT: Final = 32
_DICT_OF_MODULE_AT: Final = 16


def read_int(python: Python, thing: int) -> int | None:
    """Return an int; None if it has more than 64 digits of 30 bits. Raises `AbsentMemory`."""
    return _number(python, thing)[0]


def _constant(text: str) -> Shown:
    return lambda _python, _thing, _most: text


def _int(python: Python, thing: int, _most: int) -> str:
    value, bits = _number(python, thing)
    return f"<int of about {bits:,} bits>" if value is None else str(value)


def _bool(python: Python, thing: int, _most: int) -> str:
    return str(bool(_number(python, thing)[0]))


def _number(python: Python, thing: int) -> tuple[int | None, int]:
    """Return an int, None if it is too long, and its bits as a multiple of 30."""
    head = python.memory.number(thing + SIZE_AT, 8)
    if python.minor <= _OLD_INTS:
        length, negative = abs(head), head < 0
    else:
        length, negative = head >> _LENGTH_SHIFT, head & _SIGN == _NEGATIVE
    if not 0 <= length <= _MOST_DIGITS:
        return None, abs(length) * _BITS
    data = python.memory.read(thing + python.layout.digits_of_int, 4 * length)
    digits = struct.unpack(f"<{length}I", data)
    value = sum(digit << _BITS * place for place, digit in enumerate(digits))
    return -value if negative else value, length * _BITS


def _float(python: Python, thing: int, _most: int) -> str:
    data = python.memory.read(thing + python.layout.value_of_float, 8)
    return repr(struct.unpack("<d", data)[0])


def _complex(python: Python, thing: int, _most: int) -> str:
    data = python.memory.read(thing + python.layout.value_of_complex, 16)
    return repr(complex(*struct.unpack("<2d", data)))


def _text(python: Python, thing: int, most: int) -> str:
    shown = repr(read_text(python.memory, python.layout, thing, most))
    return shown + "..." * (python.memory.word(thing + SIZE_AT) > most)


def _bytes(python: Python, thing: int, most: int) -> str:
    return _data(python, thing, thing + _CONTENT_OF_BYTES_AT, most)


def _bytearray(python: Python, thing: int, most: int) -> str:
    start = python.memory.word(thing + python.layout.start_of_bytearray)
    return f"bytearray({_data(python, thing, start, most)})"


def _data(python: Python, thing: int, start: int, most: int) -> str:
    size = python.memory.word(thing + SIZE_AT)
    return repr(python.memory.read(start, min(size, most))) + "..." * (size > most)


def _function(python: Python, thing: int, most: int) -> str:
    name = _named(python, thing + python.layout.qualified_name_of_function, most)
    return f"<function {name} at {thing:#x}>"


def _code(python: Python, thing: int, most: int) -> str:
    layout = python.layout
    name = _named(python, thing + layout.qualified_name_of_code, most)
    file = _named(python, thing + layout.file_of_code, most)
    line = python.memory.number(thing + layout.first_line_of_code, 4)
    return f'<code object {name} at {thing:#x}, file "{file}", line {line}>'


def _generator(kind: str) -> Shown:
    def shown(python: Python, thing: int, most: int) -> str:
        name = _named(python, thing + python.layout.qualified_name_of_generator, most)
        return f"<{kind} object {name} at {thing:#x}>"

    return shown


def _module(python: Python, thing: int, most: int) -> str:
    contents = python.memory.word(thing + _DICT_OF_MODULE_AT)
    name = find_in_dict(python.memory, python.layout, contents, "__name__")
    if name is None:
        raise AbsentMemory(f"the module at {thing:#x} has no name")
    return f"<module {_text(python, name, most)}>"


def _named(python: Python, at: int, most: int) -> str:
    return read_text(python.memory, python.layout, python.memory.word(at), most)


SCALARS: Final[dict[str, Shown]] = {
    "NoneType": _constant("None"),
    "ellipsis": _constant("Ellipsis"),
    "NotImplementedType": _constant("NotImplemented"),
    "bool": _bool,
    "int": _int,
    "float": _float,
    "complex": _complex,
    "str": _text,
    "bytes": _bytes,
    "bytearray": _bytearray,
    "function": _function,
    "code": _code,
    "generator": _generator("generator"),
    "coroutine": _generator("coroutine"),
    "async_generator": _generator("async_generator"),
    "module": _module,
    **TIMES,
}
"""By the name of the type whose layout it is; the last argument is a number of characters."""
