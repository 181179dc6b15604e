"""The keyword arguments that `Pipeline`, `start`, `create_core` and `collect_core` share."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TypedDict

import attrs

from gencore.backend import Backend, Content, Threads
from gencore.collector import Collector
from gencore.events import Listener

__all__ = [
    "BackendChoice",
    "CollectorChoice",
    "CollectorSpec",
    "Directory",
    "Maker",
    "Options",
]

Maker = Callable[[], Collector]
"""A collector's class, or whatever else returns a new one for each dump."""


@attrs.frozen
class CollectorSpec:
    """A collector of a pipeline, with what it is told and how much it matters."""

    use: str | Maker
    """The collector's name, ``DISTRIBUTION:NAME``, or what makes a new one for each dump."""
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """Keyword arguments that it is made with."""
    required: bool = attrs.field(default=True, kw_only=True)
    """False: a dump is complete without it. That it cannot be loaded or fails is a warning."""
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
    sources: bool
    on_event: Listener | None
