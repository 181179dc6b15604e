"""The keyword arguments that `Pipeline`, `start`, `create_core` and `collect_core` share."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

import attrs

from gencore.backend import Backend
from gencore.collector import Collector
from gencore.errors import UsageError
from gencore.events import Listener
from gencore.request import Content, Threads, is_time_limit

__all__ = [
    "BackendChoice",
    "CollectorChoice",
    "CollectorSpec",
    "Directory",
    "Maker",
    "Options",
    "specs_of",
]

Required = bool | Literal["before"]
Maker = Callable[[], Collector]
"""A collector's class, or whatever else returns a new one for each dump."""


@attrs.frozen
class CollectorSpec:
    """A collector of a pipeline, with what it is told and how much it matters."""

    use: str | Maker
    """The collector's name, ``DISTRIBUTION:NAME``, or what makes a new one for each dump."""
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """Keyword arguments that it is made with."""
    required: Required = attrs.field(default=True, kw_only=True)
    """True: a dump without it is partial. False: a dump is complete without it; that it cannot be
    loaded or fails is a warning. ``before``: like True, and if it cannot be made or its
    `Collector.check` fails, there is no dump."""
    timeout: float | None = attrs.field(default=None, kw_only=True)
    """Seconds that all its calls in one dump may take; None is `Collector.time_limit`."""


BackendChoice = str | Backend | None
CollectorChoice = str | Maker | CollectorSpec
Directory = str | PathLike[str] | None


class Options(TypedDict, total=False):
    """See `Pipeline`."""

    backend: BackendChoice
    collectors: Sequence[CollectorChoice]
    directory: Directory
    name: str | None
    threads: Threads
    content: Content
    timeout: float | None
    annotations: Mapping[str, str] | None
    with_dontdump: bool
    allow_undumpable: bool
    sources: bool
    force: bool | None
    on_event: Listener | None


def specs_of(choices: object) -> list[CollectorSpec]:
    """Return what is said of each collector. Raises `UsageError` unless each is there once."""
    if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
        raise UsageError(
            f"collectors={choices!r} is not a list of collectors",
            remedy="give names, as in collectors=['raw']",
        )
    specs = [c if isinstance(c, CollectorSpec) else CollectorSpec(c) for c in choices]
    uses = [spec.use for spec in specs]
    if any(uses.count(use) > 1 for use in uses):
        raise UsageError(f"collectors={choices!r} names one more than once")
    for spec in specs:
        _check_spec(spec)
    return specs


def _check_spec(spec: CollectorSpec) -> None:
    if not isinstance(spec.use, str) and not callable(spec.use):
        raise UsageError(f"{spec.use!r} is neither the name nor the class of a collector")
    if not isinstance(spec.options, Mapping):
        raise UsageError(f"options={spec.options!r} of {spec.use!r} is not a mapping")
    if spec.required not in {True, False, "before"}:
        raise UsageError(
            f"required={spec.required!r} of {spec.use!r} is not true, false or 'before'"
        )
    if not is_time_limit(spec.timeout):
        raise UsageError(f"timeout={spec.timeout!r} of {spec.use!r} is not a number of seconds")
