"""Where a pipeline's options come from: arguments, environment, the file of GENCORE_CONFIG.

In that order; what none of them gives has its default.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gencore._settings.config_file import parse_toml, read_config_file
from gencore._settings.mapping import options_from_mapping
from gencore._settings.options import DestinationSpec, Options
from gencore._settings.settings import Settings
from gencore._spelling import did_you_mean
from gencore._triggers.choices import triggers_in_data
from gencore.errors import UsageError

__all__ = ["resolve_settings"]

_VARIABLES: Final = {
    "backend": "GENCORE_BACKEND",
    "directory": "GENCORE_DIRECTORY",
    "destination": "GENCORE_DESTINATION",
}


def resolve_settings(
    arguments: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings that these arguments give here; one that is None was not given.

    Raises `UsageError` for the first value that is wrong, with the source it came from.
    """
    merged = {
        option: (value, origin)
        for origin, options in _sources(arguments, environ)
        for option, value in options.items()
        if value is not None
    }
    settings = Settings()
    for option, (value, origin) in merged.items():
        try:
            settings = settings.with_option(option, value)
        except UsageError as error:
            raise UsageError(f"{origin}{error.message}", remedy=error.remedy) from error
    return settings


def _sources(
    arguments: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each source with the beginning of its error messages, the weakest first."""
    _check_names(arguments)
    path = environ.get("GENCORE_CONFIG")
    if path:
        yield f"GENCORE_CONFIG={path}: ", _options_of_file(path)
    for option, variable in _VARIABLES.items():
        text = environ.get(variable)
        if text and text.startswith("{"):  # with options
            table = parse_toml(f"{option} = {text}".encode(), variable)
            yield f"{variable}: ", options_from_mapping(table, variable)
        else:
            yield f"{variable}: ", {option: text or None}
    yield "", arguments


def _options_of_file(path: str) -> Options:
    """Return the options of GENCORE_CONFIG; its triggers are checked, and no option of a dump."""
    origin = f"GENCORE_CONFIG={path}"
    table = read_config_file(path)
    triggers_in_data(table.pop("triggers", []), origin)
    options = options_from_mapping(table, origin, besides=["triggers"])
    for key, place in _places(options):
        if not Path(place).is_absolute():
            raise UsageError(f"{origin}: {key}={place!r}: expected an absolute path")
    return options


def _places(options: Options) -> Iterator[tuple[str, Any]]:
    """Yield where artefacts would go, with the key of each: nobody knows the working directory."""
    if directory := options.get("directory"):
        yield "directory", directory
    destination = options.get("destination")
    path = destination.options.get("path") if isinstance(destination, DestinationSpec) else None
    if isinstance(path, str) and path:
        yield "destination.options.path", path


def _check_names(arguments: Mapping[str, Any]) -> None:
    for name in arguments.keys() - Options.__annotations__.keys():
        remedy = did_you_mean(name, Options.__annotations__)
        raise UsageError(f"unknown option {name!r}", remedy=remedy)
