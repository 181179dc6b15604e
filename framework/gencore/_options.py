"""The keyword arguments that `Pipeline`, `start`, `create_core` and `collect_core` share."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TypedDict

from gencore.backend import Backend, Content, Threads
from gencore.collector import Collector

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """See `Pipeline`."""

    backend: str | Backend | None
    collectors: Sequence[str | Callable[[], Collector]]
    directory: str | PathLike[str] | None
    threads: Threads
    content: Content
    timeout: float | None
    annotations: Mapping[str, str] | None
    with_dontdump: bool
    sources: bool
