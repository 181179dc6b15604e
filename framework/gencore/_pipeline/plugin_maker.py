"""How a plug-in that a pipeline was given is called, and what makes it with its options."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._settings.options import BackendSpec, CollectorSpec, DestinationSpec, FilterSpec
from gencore._settings.plugin_options import check_options

__all__ = ["name_of", "with_options"]

T = TypeVar("T")


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
