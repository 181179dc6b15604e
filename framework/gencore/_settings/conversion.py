"""Converters that take values of a type as they are: cattrs, told to guess nothing.

cattrs is loaded only where data or a plug-in's options are converted, and only here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gencore.errors import UsageError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["exact_converter", "exactly", "faults_of"]


def exact_converter() -> "Converter":
    """Return a converter to which "5" is no number, and 1 no truth value."""
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True)
    kinds: dict[Any, Callable[[Any, Any], Any]] = {
        str: exactly("text", str),
        bool: exactly("true or false", bool),
        int: exactly("a whole number", int),
        float: exactly("a number", int, float),
        type(None): exactly("nothing", type(None)),
    }
    for kind, hook in kinds.items():
        converter.register_structure_hook(kind, hook)
    return converter


def exactly(what: str, *kinds: type) -> Callable[[Any, Any], Any]:
    """Return a hook that takes values of these classes as they are, and converts nothing."""

    def take(value: Any, _: object) -> Any:
        if isinstance(value, kinds) and isinstance(value, bool) == (bool in kinds):
            return value
        raise TypeError(f"expected {what}, not {value!r}")

    return take


def faults_of(error: BaseException) -> list[str]:
    """Return each fault that a conversion found, with its path."""
    from cattrs import transform_error

    return transform_error(error, format_exception=_explain)


def _explain(error: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    ours = isinstance(error, TypeError | UsageError)
    return str(error) if ours else format_exception(error, kind)
