"""Maps data (JSON, TOML, YAML that was read) to options, with the path of each wrong value."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gencore._settings.options import (
    BackendChoice,
    BackendMaker,
    BackendSpec,
    CollectorChoice,
    CollectorSpec,
    Directory,
    Maker,
    Options,
    Required,
)
from gencore.errors import UsageError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["options_from_mapping"]


def options_from_mapping(mapping: Mapping[str, Any], origin: str = "the mapping") -> Options:
    """Give data the types of options, at every level; `Settings` checks the values.

    Raises `UsageError`, with the path of each value of a wrong type: ``$.collectors[1].timeout``.
    """
    from cattrs import transform_error

    if not all(isinstance(key, str) for key in mapping):  # JSON and TOML have no others
        raise UsageError(f"{origin}: expected keys that are text, not {list(mapping)!r}")
    try:
        return _converter().structure(mapping, Options)
    except Exception as error:
        faults = transform_error(error, format_exception=_explain)
        raise UsageError(f"{origin}: {'; '.join(faults)}") from error


def _converter() -> "Converter":
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True)
    kinds: dict[Any, Callable[[Any, Any], Any]] = {
        str: _exactly("text", str),
        str | None: _exactly("text", str),
        bool: _exactly("true or false", bool),
        bool | None: _exactly("true or false", bool),
        float | None: _exactly("a number", int, float),
        Required: _required,
        Directory: _exactly("text", str),
        str | Maker: _exactly("text", str),
        str | BackendMaker: _exactly("text", str),
    }
    for kind, hook in kinds.items():
        converter.register_structure_hook(kind, hook)
    for choice, spec in ((BackendChoice, BackendSpec), (CollectorChoice, CollectorSpec)):
        converter.register_structure_hook(choice, partial(_name_or_table, converter, spec))
    converter.register_structure_hook_func(
        lambda kind: kind == Sequence[CollectorChoice], partial(_choices, converter)
    )
    return converter


def _name_or_table(converter: "Converter", spec: type, value: object, _: object) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"expected text or a table, not {value!r}")
    return converter.structure(value, spec)


def _choices(converter: "Converter", value: object, _: object) -> list[CollectorChoice]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, not {value!r}")
    return converter.structure(value, list[CollectorChoice])


def _required(value: Any, _: object) -> Required:
    if value in (True, False, "before"):
        return value  # type: ignore[no-any-return]  # it is one of the three
    raise TypeError(f"expected true, false or 'before', not {value!r}")


def _exactly(what: str, *kinds: type) -> Callable[[Any, Any], Any]:
    """Return a hook that takes values of these classes as they are, and converts nothing."""

    def take(value: Any, _: object) -> Any:
        if isinstance(value, kinds) and isinstance(value, bool) == (bool in kinds):
            return value
        raise TypeError(f"expected {what}, not {value!r}")

    return take


def _explain(error: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    return (
        str(error) if isinstance(error, TypeError | UsageError) else format_exception(error, kind)
    )
