"""What a recorder is asked to do: the settings of a pipeline as JSON.

Only what has a name can be described: a recorder cannot have the objects of another process.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from gencore._runtime.interpreter_facts import interpreter_facts
from gencore._settings.options import (
    BackendSpec,
    CollectorSpec,
    DestinationSpec,
    FilterSpec,
    Options,
)
from gencore._settings.settings import Settings

if TYPE_CHECKING:
    from gencore._recorder.standby import Standby

__all__ = ["NoRecorder", "Plan", "options_of", "plan_of"]

_PATH: Final = "path of this system"
"""The only key of what stands for a path."""
_NOT_REQUESTED: Final = {"target", "fired", "excluded"}
_Spec = BackendSpec | CollectorSpec | DestinationSpec | FilterSpec


class NoRecorder(Exception):
    """A dump cannot be made by a recorder. The text says why."""


@attrs.frozen
class Plan:
    """What all recorders of one pipeline have in common."""

    settings: Settings
    described: str
    """The settings as JSON."""
    process: str
    """What does not change of what the process says of itself, as JSON."""
    backend: str | None = None
    """Its name, once a recorder has checked everything."""
    standby: "Standby | None" = None
    """What has a recorder wait for the next dump."""


def plan_of(settings: Settings) -> Plan:
    """Return what is known before any of them is started. Raises `NoRecorder`."""
    return Plan(settings, _described(settings), _process())


def _process() -> str:
    return json.dumps({"argv": sys.orig_argv, "runtime": interpreter_facts()})


def _described(settings: Settings) -> str:
    """Return settings as JSON, without who listens in this process. Raises `NoRecorder`."""
    backend, destination = settings.backend, settings.destination
    if backend is not None and not isinstance(backend, BackendSpec):
        raise NoRecorder("the backend was given as an object")
    listeners = [choice for choice in settings.listeners if isinstance(choice, str)]
    request = attrs.asdict(
        settings.request, recurse=False, filter=lambda field, _: field.name not in _NOT_REQUESTED
    )
    described = {
        **request,
        "name": settings.name,
        "backend": backend and _row(backend, "backend"),
        "collectors": [_row(spec, "collector") for spec in settings.collectors],
        "destination": destination and _row(destination, "destination"),
        "filters": [_row(spec, "filter") for spec in settings.filters],
        "directory": os.fspath(settings.directory) if settings.directory else None,
        "listeners": listeners,
    }
    try:
        return json.dumps(described, default=_as_json)
    except (TypeError, ValueError) as error:
        raise NoRecorder(f"an option cannot be passed to another process: {error}") from error


def _row(spec: _Spec, family: str) -> dict[str, Any]:
    if not isinstance(spec.use, str):
        raise NoRecorder(f"a {family} was given as an object")
    if _has_other_keys(spec.options):
        raise NoRecorder(f"an option of {family} {spec.use!r} has keys that are no strings")
    return attrs.asdict(spec, recurse=False)


def _has_other_keys(value: object) -> bool:
    """Return whether JSON would change the keys of a mapping in it."""
    if isinstance(value, Mapping):
        others = any(not isinstance(key, str) for key in value)
        return others or any(map(_has_other_keys, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_other_keys, value))


def _as_json(value: object) -> object:
    if isinstance(value, os.PathLike):
        return {_PATH: os.fspath(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r}")


def options_of(text: str) -> Options:
    """Return what `Plan.described` describes."""
    rows: dict[str, Any] = json.loads(text, object_hook=_from_json)
    lists: Sequence[tuple[str, type[_Spec]]] = (
        ("collectors", CollectorSpec),
        ("filters", FilterSpec),
    )
    for option, spec in lists:
        rows[option] = [spec(row.pop("use"), **row) for row in rows[option]]
    singles: Sequence[tuple[str, type[_Spec]]] = (
        ("backend", BackendSpec),
        ("destination", DestinationSpec),
    )
    for option, spec in singles:
        if rows[option]:
            rows[option] = spec(rows[option].pop("use"), **rows[option])
    return rows  # type: ignore[return-value]  # the names are those of Options


def _from_json(value: dict[str, Any]) -> Any:
    return Path(value[_PATH]) if value.keys() == {_PATH} else value
