"""How a plug-in that a pipeline was given is called, and how one is made for each dump."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

import attrs

from gencore._pipeline.watched import watched
from gencore._plugins.entry import Family
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._settings.options import BackendSpec, CollectorSpec, DestinationSpec, FilterSpec
from gencore._settings.plugin_options import check_options

__all__ = ["Recipe", "name_of", "with_options"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Recipe:
    """How to make a plug-in of one dump."""

    family: Family
    name: str
    make: Callable[[], Any]
    built_in: bool = False
    """Whether it comes with gencore: then it returns, and is called without being watched."""

    @property
    def who(self) -> str:
        """Family and name, for messages."""
        return f"{self.family} {self.name!r}"

    def follow(self, make: Callable[[Self], T]) -> T:
        """Call what makes it and lets it check itself; watched, unless it is built in."""
        return make(self) if self.built_in else watched(partial(make, self), self.who)


def with_options(
    spec: BackendSpec | CollectorSpec | DestinationSpec | FilterSpec,
    maker: Callable[..., T],
    plugin: str,
) -> Callable[[], T]:
    """Return what makes the plug-in as *spec* says. Raises `UsageError` for a wrong option."""
    return partial(maker, **check_options(maker, spec.options, plugin))


def name_of(maker: Callable[..., Any]) -> tuple[str, bool]:
    """Return how to call what makes a plug-in, and whether the plug-in has that name too."""
    while isinstance(maker, partial):
        maker = maker.func
    try:
        name = getattr(maker, "name", None)
        return (name, True) if isinstance(name, str) else (str(maker.__name__), False)
    except Exception as error:
        reraise_if_from_handler(error)
        return repr(maker), False
