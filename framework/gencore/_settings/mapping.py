"""Maps data (JSON, TOML, YAML that was read) to options, with the place of each wrong value."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import eq
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gencore._settings.conversion import Unexpected, exact_converter, exactly, faults_of
from gencore._settings.options import (
    BackendChoice,
    BackendMaker,
    BackendSpec,
    CollectorChoice,
    CollectorSpec,
    DestinationChoice,
    DestinationMaker,
    DestinationSpec,
    Directory,
    FilterChoice,
    FilterMaker,
    FilterSpec,
    ListenerChoice,
    Maker,
    Options,
    Required,
)
from gencore._settings.plugin_options import OptionsFromData
from gencore.errors import UsageError
from gencore.events import Listener
from gencore.triggers import Fired

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["options_from_mapping"]

_KEYS: Final = [key for key in Options.__annotations__ if key not in {"fired", "on_event"}]
"""Those two only code can give."""


def options_from_mapping(
    mapping: Mapping[str, Any], origin: str = "the mapping", *, besides: Sequence[str] = ()
) -> Options:
    """Give data the types of options, at every level; `Settings` checks the values.

    *besides*: keys that *origin* may have too, and that were read already. Raises `UsageError`,
    with the place of each value of a wrong type: ``collectors[1].timeout``.
    """
    try:
        return _converter(origin).structure(_table(mapping), Options)
    except Exception as error:
        faults = list(faults_of(error, keys=[*_KEYS, *besides]))
        remedies = dict.fromkeys(fault.remedy for fault in faults if fault.remedy)
        raise UsageError(
            f"{origin}: {'; '.join(fault.message for fault in faults)}",
            remedy="; ".join(remedies) or None,
        ) from error


def _table(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    raise Unexpected("a table whose keys are text", value)


def _converter(origin: str) -> "Converter":
    converter = exact_converter()
    kinds: dict[Any, Callable[[Any, Any], Any]] = {
        str | None: exactly("text", str),
        bool | None: exactly("true or false", bool),
        float | None: exactly("a number", int, float),
        int | None: exactly("a whole number", int),
        Required: _required,
        Directory: exactly("text", str),
        str | Maker: exactly("text", str),
        str | BackendMaker: exactly("text", str),
        str | DestinationMaker: exactly("text", str),
        str | FilterMaker: exactly("text", str),
        ListenerChoice: exactly("text", str),
        Listener | None: _only_from_code("a callable"),
        Fired | None: _only_from_code("a trigger that has fired"),
    }
    for kind, hook in kinds.items():
        converter.register_structure_hook(kind, hook)
    specs = {
        BackendChoice: BackendSpec,
        CollectorChoice: CollectorSpec,
        DestinationChoice: DestinationSpec,
        FilterChoice: FilterSpec,
    }
    for choice, spec in specs.items():
        converter.register_structure_hook(choice, partial(_name_or_table, converter, spec))
    generics: dict[Any, Callable[[Any, Any], Any]] = {
        Mapping[str, Any]: partial(_options, origin),
        Mapping[str, str] | None: partial(_annotations, converter),
        **{
            Sequence[choice]: partial(  # type: ignore[valid-type]  # an alias, in a loop
                _choices, converter, choice
            )
            for choice in (CollectorChoice, FilterChoice, ListenerChoice)
        },
    }
    for kind, hook in generics.items():
        converter.register_structure_hook_func(partial(eq, kind), hook)
    return converter


def _options(origin: str, value: object, _: object) -> OptionsFromData:
    return OptionsFromData(_table(value), origin)


def _annotations(converter: "Converter", value: object, _: object) -> dict[str, str]:
    return converter.structure(_table(value), dict[str, str])


def _name_or_table(converter: "Converter", spec: type, value: object, _: object) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise Unexpected("text or a table", value)
    return converter.structure(value, spec)


def _choices(converter: "Converter", choice: Any, value: object, _: object) -> Any:
    if not isinstance(value, list | tuple):
        raise Unexpected("a list", value)
    return converter.structure(value, list[choice])


def _required(value: Any, _: object) -> Required:
    if type(value) is bool or value == "before":
        return value  # type: ignore[no-any-return]  # it is one of the three
    raise Unexpected("true, false or 'before'", value)


def _only_from_code(what: str) -> Callable[[object, object], NoReturn]:
    def refuse(value: object, _: object) -> NoReturn:
        raise Unexpected(f"{what}, which only code can give", value)

    return refuse
