"""Reads triggers: those that code gives, and those of GENCORE_TRIGGERS and of GENCORE_CONFIG.

Loads little, as `gencore.arming`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs

from gencore._settings.config_file import read_config_file
from gencore._spelling import did_you_mean
from gencore.errors import UsageError
from gencore.triggers import Trigger, TriggerChoice, kind_of

__all__ = ["triggers_chosen", "triggers_in_data", "triggers_of_settings"]

_MOST: Final = 32


def triggers_chosen(choices: Iterable[TriggerChoice]) -> list[Trigger]:
    """Return what code, or a command line, has given as triggers. Raises `UsageError`."""
    if isinstance(choices, str) or not isinstance(choices, Iterable):
        raise UsageError(f"triggers={choices!r} is not a list of triggers")
    return _checked([_chosen(choice) for choice in choices])


def triggers_of_settings(environ: Mapping[str, str]) -> list[Trigger]:
    """Return those of GENCORE_TRIGGERS, or else of GENCORE_CONFIG. Raises `UsageError`."""
    if text := environ.get("GENCORE_TRIGGERS"):
        with _placed("GENCORE_TRIGGERS"):
            return triggers_chosen(part for part in text.split(";") if part.strip())
    path = environ.get("GENCORE_CONFIG")
    table = read_config_file(path) if path else {}
    return triggers_in_data(table.get("triggers", []), f"GENCORE_CONFIG={path}")


def triggers_in_data(data: object, origin: str) -> list[Trigger]:
    """Return the triggers of a list of texts, and of tables with the arguments of `Trigger`.

    Raises `UsageError`, with the place of each wrong value: ``triggers[1].hold``.
    """
    if not isinstance(data, list):
        raise UsageError(f"{origin}: triggers={data!r}: expected a list")
    with _placed(origin):
        return _checked([_in_data(one, f"triggers[{place}]") for place, one in enumerate(data)])


def _checked(triggers: list[Trigger]) -> list[Trigger]:
    if len(triggers) > _MOST:
        raise UsageError(f"{len(triggers)} triggers: expected {_MOST} at most")
    asked = [one.row[:2] for one in triggers if one.on in {"signal", "exception"}]
    if len(asked) != len(set(asked)):
        raise UsageError("two triggers for the same signal, or for exceptions: expected one")
    return triggers


def _chosen(choice: object) -> Trigger:
    if isinstance(choice, Trigger):
        return choice
    if isinstance(choice, str):
        return Trigger.read(choice)
    raise UsageError(f"triggers: {choice!r} is neither a trigger nor its text")


def _in_data(data: object, place: str) -> Trigger:
    if isinstance(data, str):
        with _placed(place):
            return Trigger.read(data)
    if not isinstance(data, Mapping):
        raise UsageError(f"{place}={data!r}: expected text or a table")
    known = attrs.fields_dict(Trigger)
    for key in sorted(data.keys() - known.keys()):
        raise UsageError(
            f"unknown key {key!r} of {place}: expected one of {', '.join(known)}",
            remedy=did_you_mean(key, known),
        )
    return _in_table(data, place)


def _in_table(table: Mapping[str, Any], place: str) -> Trigger:
    """Take one value after the other, so that it is known which one is wrong."""
    if "on" not in table:
        raise UsageError(f"{place}.on is missing")
    with _placed(f"{place}.on"):
        on = kind_of(table["on"])
    with _placed(f"{place}.above"):
        trigger = Trigger(on, table.get("above"))
    for key in table.keys() - {"on", "above"}:
        with _placed(f"{place}.{key}"):
            trigger = attrs.evolve(trigger, **{key: table[key]})
    return trigger


@contextmanager
def _placed(place: str) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}: {error.message}", remedy=error.remedy) from error
