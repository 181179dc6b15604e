"""Converters that take values of a type as they are: cattrs, told to guess nothing.

cattrs is loaded only where data or a plug-in's options are converted, and only here. None of its
texts is shown: a fault is named by its place in the data, in the words of gencore.
"""

import inspect
import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from gencore._spelling import did_you_mean
from gencore.errors import UsageError

if TYPE_CHECKING:
    from cattrs import AttributeValidationNote, Converter, IterableValidationNote

__all__ = ["Unexpected", "exact_converter", "exactly", "faults_of", "one_of"]


class Unexpected(TypeError):
    """A value that is not what its place takes."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(f"{reprlib.repr(value)}: expected {expected}")


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
    converter.register_structure_hook_func(_is_literal, _to_literal)
    return converter


def exactly(what: str, *kinds: type) -> Callable[[Any, Any], Any]:
    """Return a hook that takes values of these classes as they are, and converts nothing."""

    def take(value: Any, _: object) -> Any:
        if isinstance(value, kinds) and isinstance(value, bool) == (bool in kinds):
            return value
        raise Unexpected(what, value)

    return take


def one_of(kind: Any) -> str:
    """Return the values of a ``Literal`` in words."""
    return f"one of {', '.join(map(repr, get_args(kind)))}"


def faults_of(
    error: Exception, place: str = "", keys: Sequence[str] | None = None
) -> Iterator[UsageError]:
    """Yield each fault that a conversion found at *place*, in the order of the data.

    *keys*: those that may be there, if they are not all fields of the class.
    """
    from cattrs.errors import (
        ClassValidationError,
        ForbiddenExtraKeysError,
        IterableValidationError,
    )

    if isinstance(error, ClassValidationError | IterableValidationError):
        placed, others = error.group_exceptions()
        for inner, note in placed:
            yield from faults_of(inner, _below(place, note))
        for inner in others:
            yield from faults_of(inner, place, keys)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = keys or list(inspect.get_annotations(error.cl))
        for key in sorted(error.extra_fields, key=str):
            what = f"unknown key {key!r}{f' of {place}' if place else ''}"
            yield UsageError(
                f"{what}: expected one of {', '.join(known)}", remedy=did_you_mean(key, known)
            )
    else:
        yield _fault(error, place)


def _below(place: str, note: "AttributeValidationNote | IterableValidationNote") -> str:
    """Return the place of an attribute, or of an item; a note is text, which has an ``index``."""
    if hasattr(note, "name"):
        return f"{place}.{note.name}".lstrip(".")
    return f"{place}[{note.index!r}]"


def _fault(error: Exception, place: str) -> UsageError:
    if isinstance(error, Unexpected):
        return UsageError(f"{place}={error}" if place else str(error))
    if isinstance(error, KeyError):
        return UsageError(f"{place} is missing")
    if isinstance(error, UsageError):
        return UsageError(f"{place}: {error.message}", remedy=error.remedy)
    return UsageError(f"{place}: invalid")


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _to_literal(value: object, kind: Any) -> Any:
    """Compare types too: True is not 1. A member of an enumeration may be given by its value."""
    for literal in get_args(kind):
        for same in (literal, getattr(literal, "value", literal)):
            if type(value) is type(same) and value == same:
                return literal
    raise Unexpected(one_of(kind), value)
