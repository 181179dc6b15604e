"""Where a pipeline's options come from: arguments, environment, the file of GENCORE_CONFIG.

In that order; what none of them gives has its default. Only this module imports cattrs, and only
where a mapping or a file is read.
"""

import os
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._settings.options import (
    BackendChoice,
    CollectorChoice,
    CollectorSpec,
    Directory,
    Maker,
    Options,
    Required,
    specs_of,
)
from gencore.backend import Backend
from gencore.errors import UsageError
from gencore.naming import check_template
from gencore.request import DumpRequest

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["options_from_mapping", "request_of", "with_defaults"]

_LARGEST_FILE: Final = 1 << 20


def with_defaults(given: Options, environ: Mapping[str, str] = os.environ) -> Options:
    """Add to the arguments that are *given*, and not None, what the surroundings say.

    Raises `UsageError` for what is wrong in either.
    """
    _check_arguments(given)
    _check_values(given)
    file = environ.get("GENCORE_CONFIG")
    merged = {
        **(_read_file(file) if file else {}),
        **_read_environment(environ),
        **{name: value for name, value in given.items() if value is not None},
    }
    return cast("Options", merged)


def options_from_mapping(mapping: Mapping[str, Any], origin: str = "the mapping") -> Options:
    """Check options that come from outside the program, every level of them.

    Raises `UsageError`, with the path of each wrong value: ``$.collectors[1].timeout``.
    """
    from cattrs import transform_error

    if not all(isinstance(key, str) for key in mapping):  # JSON and TOML have no others
        raise UsageError(f"{origin}: expected keys that are text, not {list(mapping)!r}")
    try:
        options = _converter().structure(mapping, Options)
    except Exception as error:
        faults = transform_error(error, format_exception=_explain)
        raise UsageError(f"{origin}: {'; '.join(faults)}") from error
    try:
        _check_values(options)
    except UsageError as error:
        raise UsageError(f"{origin}: {error.message}", remedy=error.remedy) from error
    return options


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    names = {"backend": "GENCORE_BACKEND", "directory": "GENCORE_DIRECTORY"}
    return {option: environ[name] for option, name in names.items() if environ.get(name)}


def _read_file(path: str) -> Options:
    origin = f"GENCORE_CONFIG={path}"
    if not Path(path).is_absolute():
        raise UsageError(f"{origin} is a relative path", remedy="give an absolute one")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            _check_file(os.fstat(file.fileno()), origin, path)
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        reraise_if_from_handler(error)
        raise UsageError(f"{origin} cannot be read: {error.strerror}") from error
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"{origin} is larger than {_LARGEST_FILE:,} bytes")
    try:
        mapping = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{origin} is not TOML: {error}") from error
    options = options_from_mapping(mapping, origin)
    if not Path(options.get("directory") or "/").is_absolute():
        raise UsageError(f"{origin}: expected an absolute path @ $.directory")
    return options


def _without_waiting(path: str, flags: int) -> int:
    """Open what may be a FIFO, to be refused."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_file(status: os.stat_result, origin: str, path: str) -> None:
    """Refuse a file by which somebody else could say what this process loads and writes."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{origin} is not a file")
    if status.st_mode & stat.S_IWOTH:
        raise UsageError(f"{origin}: anybody may change this file", remedy=f"chmod o-w {path}")
    if os.name == "posix" and status.st_uid not in {0, os.geteuid()}:
        raise UsageError(
            f"{origin} belongs to another user (uid {status.st_uid})",
            remedy=f"chown root {path}, or give it to the user of this process",
        )


def _check_values(options: Options) -> None:
    """Raise `UsageError` for a value that is of the right type, and still wrong."""
    request_of(options)
    if options.get("name") is not None:
        check_template(options["name"])
    if options.get("collectors") is not None:
        specs_of(options["collectors"])
    if options.get("directory") == "":
        raise UsageError("directory='' names nothing")


def request_of(options: Options) -> DumpRequest:
    """Return what a dump with these options is asked to contain. Raises `UsageError`."""
    return DumpRequest(
        threads=options.get("threads") or "auto",
        content=options.get("content") or "full",
        timeout=options.get("timeout"),
        annotations=dict(options.get("annotations") or {}),  # the caller may change its own
        with_dontdump=options.get("with_dontdump") or False,
        allow_undumpable=options.get("allow_undumpable") or False,
        sources=options.get("sources") or False,
        force=options.get("force") or False,
    )


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
        BackendChoice: _exactly("text", str),
        Directory: _exactly("text", str),
        str | Maker: _exactly("text", str),
    }
    for kind, hook in kinds.items():
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(CollectorChoice, partial(_choice, converter))
    converter.register_structure_hook_func(
        lambda kind: kind == Sequence[CollectorChoice], partial(_choices, converter)
    )
    return converter


def _choice(converter: "Converter", value: object, _: object) -> CollectorChoice:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"expected text or a table, not {value!r}")
    return converter.structure(value, CollectorSpec)


def _choices(converter: "Converter", value: object, _: object) -> list[CollectorChoice]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, not {value!r}")
    return converter.structure(value, list[CollectorChoice])


def _exactly(what: str, *kinds: type) -> Callable[[Any, Any], Any]:
    """Return a hook that takes values of these classes as they are, and converts nothing."""

    def take(value: Any, _: object) -> Any:
        if isinstance(value, kinds) and isinstance(value, bool) == (bool in kinds):
            return value
        raise TypeError(f"expected {what}, not {value!r}")

    return take


def _required(value: Any, _: object) -> Required:
    if value in (True, False, "before"):
        return value  # type: ignore[no-any-return]  # it is one of the three
    raise TypeError(f"expected true, false or 'before', not {value!r}")


def _explain(error: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    return str(error) if isinstance(error, TypeError) else format_exception(error, kind)


_TYPES: Final = {
    "backend": (str, Backend, type(None)),
    "directory": (str, os.PathLike, type(None)),
    "annotations": (Mapping, type(None)),
    "with_dontdump": (bool, type(None)),
    "allow_undumpable": (bool, type(None)),
    "sources": (bool, type(None)),
    "force": (bool, type(None)),
}


def _check_arguments(given: Mapping[str, Any]) -> None:
    for name in given.keys() - Options.__annotations__.keys():
        close = get_close_matches(name, Options.__annotations__, 1)
        raise UsageError(
            f"there is no option {name!r}", remedy=f"did you mean {close[0]!r}?" if close else None
        )
    for name, types in _TYPES.items():
        if not isinstance(given.get(name), types):
            raise UsageError(f"{name}={given[name]!r} is of the wrong type")
    if given.get("on_event") is not None and not callable(given["on_event"]):
        raise UsageError(f"on_event={given['on_event']!r} cannot be called")
