"""The annotations of options: what values they take, in words, and the conversion of a value."""

from collections.abc import Sequence
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

from gencore._settings.conversion import Unexpected, exact_converter, one_of

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["OnlyFromCode", "Range", "in_words", "option_converter", "usable"]

_NAMES: Final[dict[Any, str]] = {Path: "path", NoneType: "None", Any: "anything"}
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


def usable(annotation: Any) -> Any:
    """Return the type that an annotation gives, without what other libraries say in ``Annotated``.

    One that is not hashable, as cattrs wants it, is no type: a list of types. It takes anything.
    """
    kind = annotation
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        ranges = [note for note in notes if isinstance(note, Range)]
        kind = Annotated[(base, *ranges)] if ranges else base
    try:
        hash(kind)
    except TypeError:
        return Any
    return kind


class OnlyFromCode(TypeError):
    """Data has no value of such a type."""


@cache
def option_converter(*, from_data: bool) -> "Converter":
    """Return the converter of options: the last hook whose condition holds is the one taken."""
    converter = exact_converter()
    converter.register_structure_hook(Path, _to_path)
    converter.register_structure_hook_func(_is_opaque, _refuse if from_data else _take_as_it_is)
    for origins, hook in (
        ({Union, UnionType}, _to_first_that_fits),
        (_SEQUENCES, _to_sequence),
        ({Annotated}, _to_range),
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
    raise OnlyFromCode(f"expected a {kind}, not {value!r}")


def _take_as_it_is(value: object, kind: Any) -> Any:
    is_class = isinstance(kind, type) and kind is not Any  # which is one, since Python 3.11
    is_protocol = getattr(kind, "_is_protocol", False)  # typing.is_protocol, in Python 3.13
    if is_class and not is_protocol and not isinstance(value, kind):
        raise Unexpected(f"a {kind.__name__}", value)
    return value


def _to_path(value: object, _: Any) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value:
        return Path(value)
    raise Unexpected("a path", value)


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
        raise Unexpected("a list", value)
    origin, items = get_origin(kind), get_args(kind)
    if not items:  # a bare List, Sequence or Tuple of `typing`
        return tuple(value) if origin is tuple else list(value)
    if origin is not tuple:
        return [converter.structure(item, items[0]) for item in value]
    if items[-1:] == (...,):
        items = (items[0],) * len(value)
    return tuple(converter.structure(v, item) for v, item in zip(value, items, strict=True))


def _to_range(converter: "Converter", value: object, kind: Any) -> Any:
    base, *notes = get_args(kind)
    taken = converter.structure(value, base)
    ranges = [note for note in notes if isinstance(note, Range)]
    if taken is not None and not all(taken in allowed for allowed in ranges):
        raise ValueError(f"{taken!r} is out of range")
    return taken


def in_words(kind: Any) -> str:
    """Return what values a type takes."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([in_words(parts[0]), *(str(p) for p in parts[1:] if type(p) is Range)])
    if origin is Literal:
        return one_of(kind)
    if origin in {Union, UnionType}:
        return " or ".join(map(in_words, parts))
    if origin is tuple and parts and parts[-1] is not ...:
        return f"({', '.join(map(in_words, parts))})"
    if origin in _SEQUENCES and parts:
        return f"{origin.__name__.lower()} of {in_words(parts[0])}"
    return _NAMES.get(kind) or str(getattr(kind, "__name__", kind))
