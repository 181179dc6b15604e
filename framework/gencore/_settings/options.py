"""The keyword arguments that `Pipeline`, `start`, `create_core` and `collect_core` share."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

import attrs

from gencore.backend import Backend
from gencore.collector import Collector
from gencore.destination import Destination
from gencore.errors import UsageError
from gencore.events import Listener
from gencore.filter import Filter
from gencore.request import Content, Threads, is_time_limit
from gencore.triggers import Fired

__all__ = [
    "BackendChoice",
    "BackendMaker",
    "BackendSpec",
    "CollectorChoice",
    "CollectorSpec",
    "DestinationChoice",
    "DestinationMaker",
    "DestinationSpec",
    "Directory",
    "FilterChoice",
    "FilterMaker",
    "FilterSpec",
    "ListenerChoice",
    "Maker",
    "Options",
    "check_plugin_name",
]

Required = bool | Literal["before"]
Maker = Callable[..., Collector]
"""A collector's class, or whatever else returns a new one for each dump."""
DestinationMaker = Callable[..., Destination]
"""A destination's class, or whatever else returns a new one for each dump."""
FilterMaker = Callable[..., Filter]
"""A filter's class, or whatever else returns a new one for each dump."""
BackendMaker = Callable[..., Backend]
"""A backend's class, or whatever else returns a new object of it."""


def check_plugin_name(family: str, name: str) -> None:
    """Raise `UsageError` if a name, or the distribution before it, is empty."""
    if not all(part.strip() for part in name.split(":")):
        state = "incomplete" if name.strip() else "empty"
        raise UsageError(
            f"{family} name {name!r} is {state}: expected NAME or DISTRIBUTION:NAME",
            remedy="gencore plugins",
        )


def _check_use(spec: Any, _: object, use: Any) -> None:
    family = type(spec).__name__.removesuffix("Spec").lower()
    if isinstance(use, str):
        check_plugin_name(family, use)
    elif not callable(use):
        raise UsageError(f"{use!r} is neither the name nor the class of a {family}")


def _check_options(spec: Any, _: object, options: Any) -> None:
    if not isinstance(options, Mapping):
        raise UsageError(f"options={options!r} of {spec.use!r} is not a mapping")


def _check_required(spec: "CollectorSpec", _: object, required: Any) -> None:
    if type(required) is not bool and required != "before":
        raise UsageError(f"required={required!r} of {spec.use!r} is not true, false or 'before'")


def _check_timeout(spec: "CollectorSpec", _: object, timeout: Any) -> None:
    if not is_time_limit(timeout):
        raise UsageError(f"timeout={timeout!r} of {spec.use!r} is not a number of seconds")


@attrs.frozen
class BackendSpec:
    """The backend of a pipeline, with its options. Raises `UsageError`."""

    use: str | BackendMaker = attrs.field(validator=_check_use)
    """The backend's name, ``DISTRIBUTION:NAME``, or what makes an object of it."""
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, validator=_check_options)
    """Keyword arguments that it is made with."""


@attrs.frozen
class DestinationSpec:
    """The destination of a pipeline, with its options. Raises `UsageError`."""

    use: str | DestinationMaker = attrs.field(validator=_check_use)
    """The destination's name, ``DISTRIBUTION:NAME``, or what makes a new one for each dump."""
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, validator=_check_options)
    """Keyword arguments that it is made with."""


@attrs.frozen
class FilterSpec:
    """A filter of a pipeline, with its options. Raises `UsageError`."""

    use: str | FilterMaker = attrs.field(validator=_check_use)
    """The filter's name, ``DISTRIBUTION:NAME``, or what makes a new one for each dump."""
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, validator=_check_options)
    """Keyword arguments that it is made with."""


@attrs.frozen
class CollectorSpec:
    """A collector of a pipeline, with its options and how much it matters. Raises `UsageError`."""

    use: str | Maker = attrs.field(validator=_check_use)
    """The collector's name, ``DISTRIBUTION:NAME``, or what makes a new one for each dump."""
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, validator=_check_options)
    """Keyword arguments that it is made with."""
    required: Required = attrs.field(default=True, kw_only=True, validator=_check_required)
    """True: a dump without it is partial. False: a dump is complete without it; that it cannot be
    loaded or fails is a warning. ``before``: like True, and if it cannot be made or its
    `Collector.check` fails, there is no dump."""
    timeout: float | None = attrs.field(default=None, kw_only=True, validator=_check_timeout)
    """Seconds that all its calls in one dump may take; None is `Collector.time_limit`."""


BackendChoice = str | Backend | BackendSpec | None
CollectorChoice = str | Maker | CollectorSpec
DestinationChoice = str | DestinationMaker | DestinationSpec | None
FilterChoice = str | FilterMaker | FilterSpec
ListenerChoice = str | Listener
Directory = str | PathLike[str] | None


class Options(TypedDict, total=False):
    """See `Pipeline`."""

    backend: BackendChoice
    collectors: Sequence[CollectorChoice]
    directory: Directory
    destination: DestinationChoice
    filters: Sequence[FilterChoice]
    name: str | None
    threads: Threads
    content: Content
    timeout: float | None
    target: int | None
    reason: str | None
    fired: Fired | None
    annotations: Mapping[str, str] | None
    with_dontdump: bool
    allow_undumpable: bool
    sources: bool
    force: bool | None
    huge_pages: bool
    on_event: Listener | None
    listeners: Sequence[ListenerChoice]
