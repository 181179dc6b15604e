"""The options of a plug-in: the keyword arguments of its constructor, with their annotations."""

import inspect
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._settings.option_types import OnlyFromCode, in_words, option_converter, usable
from gencore._spelling import did_you_mean
from gencore.errors import UsageError

__all__ = ["Option", "OptionsFromData", "PluginOptions", "check_options", "read_options"]


class OptionsFromData(dict[str, Any]):
    """Options that were read from JSON, TOML or YAML: not every value can be written there."""

    def __init__(self, options: Mapping[str, Any], origin: str) -> None:
        super().__init__(options)
        self.origin = origin


class Option(NamedTuple):
    """One keyword argument of a plug-in's constructor."""

    name: str
    kind: Any = Any
    """Its annotation."""
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def expected(self) -> str:
        """What values it takes, in words."""
        return in_words(self.kind)


class PluginOptions(NamedTuple):
    """Every option of a plug-in."""

    named: Mapping[str, Option]
    others: Option | None = None
    """What any other keyword argument is, if the constructor takes more than those it names."""


def read_options(maker: Callable[..., Any]) -> PluginOptions:
    """Return the options of a plug-in's class, or of another callable that makes its object."""
    try:
        parameters = _signature(maker).parameters.values()
    except Exception as error:  # a metaclass, or a function without a readable signature
        reraise_if_from_handler(error)
        return PluginOptions(named={}, others=Option(name="*"))
    by_keyword = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    others = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    return PluginOptions(
        named={p.name: _option(p) for p in parameters if p.kind in by_keyword},
        others=_option(others[0]) if others else None,
    )


def check_options(
    maker: Callable[..., Any], given: Mapping[str, Any], plugin: str
) -> dict[str, Any]:
    """Return the options that *maker* is called with, each of its annotated type.

    Raises `UsageError`, naming *plugin*, for one that is unknown, missing, or of a wrong value.
    """
    where = f"{given.origin}: {plugin}" if isinstance(given, OptionsFromData) else plugin
    options = read_options(maker)
    found = {name: _find(options, name, value, where) for name, value in given.items()}
    for option in options.named.values():
        if option.required and option.name not in given:
            raise UsageError(
                f"{where}: option {option.name!r} is missing: expected {option.expected}"
            )
    converter = option_converter(from_data=isinstance(given, OptionsFromData)) if given else None
    return {name: _convert(converter, found[name], value, where) for name, value in given.items()}


def _signature(maker: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(maker, eval_str=True)
    except NameError:  # a name that only type checkers import: its option takes anything
        return inspect.signature(maker)


def _option(parameter: inspect.Parameter) -> Option:
    unknown = parameter.annotation is inspect.Parameter.empty or isinstance(
        parameter.annotation, str
    )
    kind = Any if unknown else usable(parameter.annotation)
    return Option(name=parameter.name, kind=kind, default=parameter.default)


def _find(options: PluginOptions, name: str, value: object, where: str) -> Option:
    if name in options.named:
        return options.named[name]
    if options.others is not None:
        return options.others._replace(name=name)
    known = ", ".join(options.named)
    raise UsageError(
        f"{where}: unknown option {name}={reprlib.repr(value)}: "
        + (f"expected one of {known}" if known else "expected none"),
        remedy=did_you_mean(name, options.named),
    )


def _convert(converter: Any, option: Option, value: object, where: str) -> Any:
    try:
        return converter.structure(value, option.kind)
    except Exception as error:
        reraise_if_from_handler(error)
        raise UsageError(
            f"{where}: option {option.name}={reprlib.repr(value)}: expected {option.expected}"
            + (", which only code can give" if isinstance(error, OnlyFromCode) else "")
        ) from error
