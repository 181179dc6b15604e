"""The options of a plug-in: the keyword arguments of its constructor, with their annotations."""

import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NewType,
    Union,
    get_args,
    get_origin,
)

import attrs

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._settings.conversion import exact_converter
from gencore.errors import UsageError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["Option", "OptionsFromData", "PluginOptions", "Range", "check_options", "read_options"]

_NAMES: Final[Mapping[Any, str]] = {Path: "path", NoneType: "None", Any: "anything"}
_SEQUENCES: Final = {list, tuple, Sequence}


@attrs.frozen
class Range:
    """The numbers from *least* to *most*, both included; None is no bound.

    For annotations of a plug-in's options: ``level: Annotated[int, Range(1, 22)] = 3``.
    """

    least: float | None = None
    most: float | None = None

    def __contains__(self, number: float) -> bool:
        """Whether *number* is in the range. NaN is in none that has a bound."""
        over = self.least is None or number >= self.least
        under = self.most is None or number <= self.most
        return over and under

    def __str__(self) -> str:
        """Return what can follow the name of a type."""
        if self.least is not None and self.most is not None:
            return f"from {self.least} to {self.most}"
        if self.least is not None:
            return f"of at least {self.least}"
        return "of any size" if self.most is None else f"of at most {self.most}"


class OptionsFromData(dict[str, Any]):
    """Options that were read from JSON, TOML or YAML: not every value can be written there."""

    def __init__(self, options: Mapping[str, Any], origin: str) -> None:
        super().__init__(options)
        self.origin = origin


@attrs.frozen(kw_only=True)
class Option:
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
        return _in_words(self.kind)


@attrs.frozen(kw_only=True)
class PluginOptions:
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
    for option in options.named.values():
        if option.required and option.name not in given:
            raise UsageError(
                f"{where}: option {option.name!r} is missing: expected {option.expected}"
            )
    converter = _converter(from_data=isinstance(given, OptionsFromData)) if given else None
    return {
        name: _convert(converter, _find(options, name, value, where), value, where)
        for name, value in given.items()
    }


def _signature(maker: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(maker, eval_str=True)
    except NameError:  # a name that only type checkers import: its option takes anything
        return inspect.signature(maker)


def _option(parameter: inspect.Parameter) -> Option:
    unknown = parameter.annotation is inspect.Parameter.empty or isinstance(
        parameter.annotation, str
    )
    kind = Any if unknown else _without_foreign_notes(parameter.annotation)
    if not _is_hashable(kind):  # no type: a list of them, or a note of another library's inside
        kind = Any
    return Option(name=parameter.name, kind=kind, default=parameter.default)


def _is_hashable(kind: Any) -> bool:
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _without_foreign_notes(kind: Any) -> Any:
    """Drop what other libraries say in ``Annotated``: it need not be hashable, as cattrs wants."""
    if get_origin(kind) is not Annotated:
        return kind
    base, *notes = get_args(kind)
    ranges = [note for note in notes if isinstance(note, Range)]
    return Annotated[(base, *ranges)] if ranges else base


def _find(options: PluginOptions, name: str, value: object, where: str) -> Option:
    if name in options.named:
        return options.named[name]
    if options.others is not None:
        return attrs.evolve(options.others, name=name)
    close = get_close_matches(str(name), options.named, 1)
    known = ", ".join(options.named)
    raise UsageError(
        f"{where}: unknown option {name}={reprlib.repr(value)}: "
        + (f"expected one of {known}" if known else "expected none"),
        remedy=f"did you mean {close[0]!r}?" if close else None,
    )


def _convert(converter: Any, option: Option, value: object, where: str) -> Any:
    try:
        return converter.structure(value, option.kind)
    except Exception as error:
        reraise_if_from_handler(error)
        raise UsageError(
            f"{where}: option {option.name}={reprlib.repr(value)}: expected {option.expected}"
            + (", which only code can give" if isinstance(error, _OnlyFromCode) else "")
        ) from error


class _OnlyFromCode(TypeError):
    """Data has no value of such a type."""


@cache
def _converter(*, from_data: bool) -> "Converter":
    """Return the converter of options: the last hook whose condition holds is the one taken."""
    converter = exact_converter()
    converter.register_structure_hook(Path, _to_path)
    converter.register_structure_hook_func(_is_opaque, _refuse if from_data else _take_as_it_is)
    for origins, hook in (
        ({Union, UnionType}, _to_first_that_fits),
        (_SEQUENCES, _to_sequence),
        ({Annotated}, _to_range),
        ({Literal}, _to_literal),
    ):
        converter.register_structure_hook_func(
            partial(_has_origin, origins), partial(hook, converter)
        )
    return converter


def _has_origin(origins: set[Any], kind: Any) -> bool:
    return get_origin(kind) in origins


def _is_opaque(kind: Any) -> bool:
    """Whether nothing is known of the values of a type but, for a class, that they are its."""
    known = {str, bool, int, float, Path, NoneType}
    resolved = isinstance(kind, NewType) or hasattr(kind, "__value__")  # cattrs looks through
    return kind not in known and get_origin(kind) is not Literal and not resolved


def _refuse(value: object, kind: Any) -> Any:
    raise _OnlyFromCode(f"expected a {kind}, not {value!r}")


def _take_as_it_is(value: object, kind: Any) -> Any:
    is_class = isinstance(kind, type) and kind is not Any  # which is one, since Python 3.11
    is_protocol = getattr(kind, "_is_protocol", False)  # typing.is_protocol, in Python 3.13
    if is_class and not is_protocol and not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, not {value!r}")
    return value


def _to_path(value: object, _: Any) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value:
        return Path(value)
    raise TypeError(f"expected a path, not {value!r}")


def _to_first_that_fits(converter: "Converter", value: object, kind: Any) -> Any:
    """Convert to a path only what is of no other type of the union."""
    error: Exception = TypeError("an empty union")
    for member in sorted(get_args(kind), key=lambda member: member is Path):
        try:
            return converter.structure(value, member)
        except Exception as raised:
            error = raised
    raise error


def _to_sequence(converter: "Converter", value: object, kind: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, not {value!r}")
    origin, items = get_origin(kind), get_args(kind)
    if not items:  # a bare List, Sequence or Tuple of `typing`
        return tuple(value) if origin is tuple else list(value)
    if origin is not tuple:
        return [converter.structure(item, items[0]) for item in value]
    if items[-1:] == (...,):
        items = (items[0],) * len(value)
    return tuple(converter.structure(v, item) for v, item in zip(value, items, strict=True))


def _to_literal(_: "Converter", value: object, kind: Any) -> Any:
    """Compare types too: True is not 1. A member of an enumeration may be given by its value."""
    for literal in get_args(kind):
        for same in (literal, getattr(literal, "value", literal)):
            if type(value) is type(same) and value == same:
                return literal
    raise ValueError(f"{value!r} is none of them")


def _to_range(converter: "Converter", value: object, kind: Any) -> Any:
    base, *notes = get_args(kind)
    taken = converter.structure(value, base)
    ranges = [note for note in notes if isinstance(note, Range)]
    if taken is not None and not all(taken in allowed for allowed in ranges):
        raise ValueError(f"{taken!r} is out of range")
    return taken


def _in_words(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([_in_words(parts[0]), *(str(p) for p in parts[1:] if type(p) is Range)])
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin in {Union, UnionType}:
        return " or ".join(map(_in_words, parts))
    if origin is tuple and parts and parts[-1] is not ...:
        return f"({', '.join(map(_in_words, parts))})"
    if origin in _SEQUENCES and parts:
        return f"{origin.__name__.lower()} of {_in_words(parts[0])}"
    return _NAMES.get(kind) or str(getattr(kind, "__name__", kind))
