"""The settings of one pipeline: every option with its value, checked."""

import os
from collections.abc import Sequence
from typing import Any, Self

import attrs

from gencore._settings.options import (
    BackendSpec,
    CollectorSpec,
    DestinationSpec,
    Directory,
    FilterSpec,
    ListenerChoice,
    check_plugin_name,
)
from gencore.backend import Backend
from gencore.errors import UsageError
from gencore.events import Listener
from gencore.naming import DEFAULT_NAME, check_template
from gencore.request import DumpRequest

__all__ = ["Settings"]


def _to_backend(choice: Any) -> Backend | BackendSpec | None:
    if choice is None or isinstance(choice, Backend | BackendSpec):
        return choice
    if isinstance(choice, str):
        return BackendSpec(choice)
    raise UsageError(
        f"backend={choice!r} is neither a name nor a Backend", remedy="see 'gencore plugins'"
    )


def _check_list(option: str, choices: Any, *, least: int = 0, remedy: str | None = None) -> None:
    if isinstance(choices, str) or not isinstance(choices, Sequence) or len(choices) < least:
        raise UsageError(f"{option}={choices!r} is not a list of {option}", remedy=remedy)


def _to_collectors(choices: Any) -> tuple[CollectorSpec, ...]:
    _check_list("collectors", choices, least=1, remedy="pass names, as in collectors=['raw']")
    return tuple(c if isinstance(c, CollectorSpec) else CollectorSpec(c) for c in choices)


def _to_destination(choice: Any) -> DestinationSpec | None:
    return choice if isinstance(choice, DestinationSpec | None) else DestinationSpec(choice)


def _to_filters(choices: Any) -> tuple[FilterSpec, ...]:
    _check_list("filters", choices)
    return tuple(c if isinstance(c, FilterSpec) else FilterSpec(c) for c in choices)


def _to_listeners(choices: Any) -> tuple[ListenerChoice, ...]:
    _check_list("listeners", choices)
    for choice in choices:
        if isinstance(choice, str):
            check_plugin_name("listener", choice)
        elif not callable(choice):
            raise UsageError(f"listeners: {choice!r} is neither a name nor callable")
    return tuple(choices)


def _check_directory(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str | os.PathLike | None):
        raise UsageError(f"directory={value!r} is not a path")
    if value == "":
        raise UsageError("directory='' is empty")


def _check_name(_: object, __: object, value: Any) -> None:
    check_template(value)


def _check_listener(_: object, __: object, value: Any) -> None:
    if value is not None and not callable(value):
        raise UsageError(f"on_event={value!r} cannot be called")


@attrs.frozen(kw_only=True)
class Settings:
    """What a pipeline does. The only place where options are checked; raises `UsageError`."""

    backend: Backend | BackendSpec | None = attrs.field(default=None, converter=_to_backend)
    """None: the one of highest priority that works."""
    collectors: tuple[CollectorSpec, ...] = attrs.field(
        default=("manifest", "archive"), converter=_to_collectors
    )
    directory: Directory = attrs.field(default=None, validator=_check_directory)
    """None: the current directory, at the time of each dump."""
    destination: DestinationSpec | None = attrs.field(default=None, converter=_to_destination)
    """None: files in the directory."""
    filters: tuple[FilterSpec, ...] = attrs.field(default=(), converter=_to_filters)
    name: str = attrs.field(default=DEFAULT_NAME, validator=_check_name)
    on_event: Listener | None = attrs.field(default=None, validator=_check_listener)
    listeners: tuple[ListenerChoice, ...] = attrs.field(default=(), converter=_to_listeners)
    request: DumpRequest = attrs.field(factory=DumpRequest)

    def with_option(self, option: str, value: Any) -> Self:
        """Return these settings with one option of `Options` changed."""
        if option in attrs.fields_dict(type(self)):
            return attrs.evolve(self, **{option: value})
        return attrs.evolve(self, request=attrs.evolve(self.request, **{option: value}))
