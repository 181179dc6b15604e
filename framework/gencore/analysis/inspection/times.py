"""Shows dates, times and differences of times, as their ``repr`` does.

Their fields are bytes in the order of Include/datetime.h of CPython 3.11 to 3.15. All of these
raise `AbsentMemory`, too if what is there is no time.
"""

import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final

from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["TIMES"]

_IS_AWARE_AT, _FIELDS_AT = 24, 25
_DATE, _TIME = struct.Struct(">HBB"), struct.Struct(">BBBBH")
"""The last two fields of a time are the upper byte and the rest of its microseconds."""
_DIFFERENCE: Final = struct.Struct("<3i")
_DIFFERENCE_AT: Final = 24


def _date(python: Python, thing: int, _most: int) -> str:
    fields = _DATE.unpack(python.memory.read(thing + _FIELDS_AT, _DATE.size))
    return _shown(thing, lambda: date(*fields))


def _time(python: Python, thing: int, _most: int) -> str:
    fields = _clock(python, thing + _FIELDS_AT)
    return _with_zone(python, thing, _shown(thing, lambda: time(*fields)))


def _datetime(python: Python, thing: int, _most: int) -> str:
    fields = _DATE.unpack(python.memory.read(thing + _FIELDS_AT, _DATE.size))
    fields += _clock(python, thing + _FIELDS_AT + _DATE.size)
    return _with_zone(python, thing, _shown(thing, lambda: datetime(*fields)))  # noqa: DTZ001 - as the fields are


def _timedelta(python: Python, thing: int, _most: int) -> str:
    fields = _DIFFERENCE.unpack(python.memory.read(thing + _DIFFERENCE_AT, _DIFFERENCE.size))
    return _shown(thing, lambda: timedelta(*fields))


def _clock(python: Python, at: int) -> tuple[int, int, int, int]:
    hour, minute, second, high, low = _TIME.unpack(python.memory.read(at, _TIME.size))
    return hour, minute, second, high << 16 | low


def _with_zone(python: Python, thing: int, text: str) -> str:
    is_aware = python.memory.number(thing + _IS_AWARE_AT, 1)
    return f"{text[:-1]}, tzinfo=...)" if is_aware else text


def _shown(thing: int, make: Callable[[], object]) -> str:
    try:
        return repr(make())
    except (ValueError, OverflowError) as error:
        raise AbsentMemory(f"the object at {thing:#x} is no time: {error}") from error


TIMES: Final = {
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.datetime": _datetime,
    "datetime.timedelta": _timedelta,
}
"""By the name of the type whose layout it is, as in `gencore.analysis.inspection.scalars`."""
