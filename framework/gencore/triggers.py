"""Triggers: what an armed process has itself dumped for. See `gencore.arm`.

Loads little, as `gencore.arming`.
"""

import re
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, Self, cast, get_args

import attrs

from gencore._quantities import read_age, read_size
from gencore.errors import UsageError

__all__ = ["Fired", "Trigger", "TriggerChoice", "TriggerKind"]

TriggerKind = Literal[
    "memory", "gil", "loop", "signal", "exception", "cpu", "threads", "descriptors"
]
_NANOSECONDS: Final = 10**9
_LONGEST: Final = 100 * 365 * 86400.0
"""Seconds; the agent's nanoseconds have 64 bits."""
_MOST: Final = 10**9
_NUMBER: Final = re.compile(r"\d{1,10}", re.ASCII)
_ZERO: Final = re.compile(r"0+(?:\.0+)? ?(?:s|min|h|d|w)?", re.ASCII)
_PERCENT: Final = re.compile(r"(\d{1,6}(?:\.\d+)?) ?%", re.ASCII)
_SIGNAL: Final = re.compile(r"SIGRTMIN(?:\+(\d{1,2}))?", re.ASCII)


class _Condition(NamedTuple):
    """What the agent knows by a name of its own, and the number that it compares with."""

    name: str
    above: int


def _memory(above: Any) -> _Condition:
    if isinstance(above, str) and (share := _PERCENT.fullmatch(above)):
        thousandths = round(float(share[1]) * 10)
        if not 0 < thousandths <= 1000 or float(share[1]) > 100:  # noqa: PLR2004 - 100 %
            raise UsageError(f"{above!r} is not a share of the limit: expected 1 to 100 %")
        return _Condition("memory-share", thousandths)
    return _Condition("memory-size", read_size(above))


def _cpu(above: Any) -> _Condition:
    share = _PERCENT.fullmatch(above) if isinstance(above, str) else None
    if share is None or (thousandths := round(float(share[1]) * 10)) < 1:
        raise UsageError(f"{above!r} is not a share of one CPU: expected a text like '90%'")
    return _Condition("cpu", thousandths)


def _duration(name: str) -> Callable[[Any], _Condition]:
    def read(above: Any) -> _Condition:
        if (seconds := read_age(above)) < 1:
            raise UsageError(f"{above!r} is less than a second")
        return _Condition(name, _in_nanoseconds(above, seconds))

    return read


def _in_nanoseconds(given: Any, seconds: float) -> int:
    if seconds > _LONGEST:
        raise UsageError(f"{given!r} is longer than 100 years")
    return round(seconds * _NANOSECONDS)


def _is_number(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MOST


def _number(name: str) -> Callable[[Any], _Condition]:
    def read(above: Any) -> _Condition:
        digits = isinstance(above, str) and _NUMBER.fullmatch(above)
        number = int(above) if digits else above
        if not _is_number(number):
            raise UsageError(f"{above!r} is not a whole number from 1 to {_MOST:,}")
        return _Condition(name, number)

    return read


def _signal(above: Any) -> _Condition:
    match = _SIGNAL.fullmatch(above) if isinstance(above, str) else None
    number = signal.SIGRTMIN + int(match[1] or 0) if match else 0
    if not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        raise UsageError(f"{above!r} is not a real-time signal: expected one like 'SIGRTMIN+5'")
    return _Condition("signal", number)


def _nothing(above: Any) -> _Condition:
    if above is not None:
        raise UsageError(f"{above!r} was given to a trigger that takes no threshold")
    return _Condition("exception", 0)


_READERS: Final[Mapping[str, Callable[[Any], _Condition]]] = {
    "memory": _memory,
    "gil": _duration("gil"),
    "loop": _duration("loop"),
    "signal": _signal,
    "exception": _nothing,
    "cpu": _cpu,
    "threads": _number("threads"),
    "descriptors": _number("descriptors"),
}
_ASKED: Final = ("signal", "exception")
"""They happen at an instant, and hold for no time."""


def kind_of(on: Any) -> TriggerKind:
    """Return what a trigger looks at, if it can be looked at. Raises `UsageError`."""
    if not isinstance(on, str) or on not in _READERS:
        raise UsageError(f"on={on!r} is not one of {', '.join(get_args(TriggerKind))}")
    return cast("TriggerKind", on)


def _check_on(_: object, __: object, on: Any) -> None:
    kind_of(on)


def _check_above(trigger: "Trigger", _: object, above: Any) -> None:
    if above is None and trigger.on != "exception":
        raise UsageError(f"the trigger on {trigger.on!r} has no threshold")
    _READERS[trigger.on](above)


def _check_count(_: object, __: object, count: Any) -> None:
    if not _is_number(count):
        raise UsageError(f"count={count!r} is not a whole number from 1 to {_MOST:,}")


def _check_hold(trigger: "Trigger", _: object, hold: float) -> None:
    if hold and trigger.on in _ASKED:
        raise UsageError(f"the trigger on {trigger.on!r} takes no hold: it lasts for no time")


def _to_seconds(value: Any) -> float:
    if type(value) in {int, float, str} and _ZERO.fullmatch(str(value)):
        return 0.0
    seconds = read_age(value)
    _in_nanoseconds(value, seconds)
    return seconds


@attrs.frozen
class Trigger:
    """One reason for which an armed process has itself dumped. Raises `UsageError`.

    It fires once when its condition has held for a while, and again only after the condition has
    been false. Times are seconds, or text: ``90s``, ``10min``, ``12h``.
    """

    on: TriggerKind = attrs.field(validator=_check_on)
    """What is looked at."""
    above: str | float | None = attrs.field(default=None, validator=_check_above)
    """The threshold. ``memory``: a share of the limit of the memory cgroup, or of the machine's
    memory without one, or of the process's limit on its address space (RLIMIT_AS) if that is
    nearer, as ``"80%"``; or the resident size, as bytes or ``"2 GiB"``. ``gil``: for
    how long no thread of Python gets it. ``loop``: for how long an event loop does not turn, see
    `gencore.watch`. ``signal``: a real-time signal without a handler, ``"SIGRTMIN+5"``. ``cpu``: a
    share of one CPU, ``"350%"``. ``threads``, ``descriptors``: their number. ``exception``: none;
    an exception that nobody has caught."""
    interval: float = attrs.field(default=600.0, kw_only=True, converter=_to_seconds)
    """At least so long between the begins of two dumps."""
    count: int = attrs.field(default=3, kw_only=True, validator=_check_count)
    """Dumps of one process for this trigger."""
    hold: float = attrs.field(
        default=0.0, kw_only=True, converter=_to_seconds, validator=_check_hold
    )
    """For how long the condition has to hold, without a break."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what ``gencore exec --trigger`` was given: ``memory=80%,hold=5s``.

        Raises `UsageError`.
        """
        first, *rest = text.split(",")
        on, _, above = first.partition("=")
        options: dict[str, Any] = dict(_option(text, part) for part in rest)
        if "count" in options:
            options["count"] = _number("count")(options["count"]).above
        return cls(cast("TriggerKind", on.strip()), above.strip() or None, **options)

    @property
    def row(self) -> tuple[str, int, int, int, int]:
        """As the agent takes it: name, threshold, hold and interval in nanoseconds, count."""
        condition = _READERS[self.on](self.above)
        hold, interval = (round(s * _NANOSECONDS) for s in (self.hold, self.interval))
        return condition.name, condition.above, hold, interval, self.count


TriggerChoice = str | Trigger
"""A trigger, or a text of one: see `Trigger.read`."""


@attrs.frozen(kw_only=True)
class Fired:
    """A trigger that has fired: what for, and what was measured then."""

    on: TriggerKind
    unit: str | None
    """``percent``, ``bytes``, ``seconds``, ``threads``, ``descriptors``; of the next two."""
    threshold: float | None
    """None if it was asked for."""
    measured: float | None
    signal: int | None = None
    """The signal that asked for it."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what the agent has said: name, threshold and measure, in its units.

        Raises `UsageError`.
        """
        try:
            name, *numbers = text.split(" ")
            on, unit, scale = _MEASURES[name]
            above, measured = map(int, numbers)
        except (KeyError, ValueError) as error:
            raise UsageError(f"fired={text!r} is not what an agent says") from error
        if scale == 0:
            number = above if on == "signal" else None
            return cls(on=on, unit=None, threshold=None, measured=None, signal=number)
        return cls(on=on, unit=unit, threshold=above / scale, measured=measured / scale)


_MEASURES: Final[Mapping[str, tuple[TriggerKind, str | None, int]]] = {
    "memory-share": ("memory", "percent", 10),
    "memory-size": ("memory", "bytes", 1),
    "gil": ("gil", "seconds", _NANOSECONDS),
    "loop": ("loop", "seconds", _NANOSECONDS),
    "signal": ("signal", None, 0),
    "exception": ("exception", None, 0),
    "cpu": ("cpu", "percent", 10),
    "threads": ("threads", "threads", 1),
    "descriptors": ("descriptors", "descriptors", 1),
}
"""By the agent's names: kind, unit, and how many of the agent's units are one; 0: no measure."""


def _option(text: str, part: str) -> tuple[str, str]:
    name, equals, value = (piece.strip() for piece in part.partition("="))
    if not equals or name not in {"interval", "count", "hold"}:
        raise UsageError(
            f"trigger {text!r}: {part!r} is unknown: expected interval=, count= or hold=",
            remedy="gencore exec --trigger memory=80%,interval=10min,count=3,hold=5s -- COMMAND",
        )
    return name, value
