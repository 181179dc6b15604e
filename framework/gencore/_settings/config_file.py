"""Reads the file of GENCORE_CONFIG, if it is one that can be trusted."""

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._settings.mapping import options_from_mapping
from gencore._settings.options import DestinationSpec, Options
from gencore.errors import UsageError

__all__ = ["options_from_toml", "read_config_file"]

_LARGEST_FILE: Final = 1 << 20
"""Bytes."""


def read_config_file(path: str) -> Options:
    """Return the options that a TOML file gives. Raises `UsageError`."""
    origin = f"GENCORE_CONFIG={path}"
    if not Path(path).is_absolute():
        raise UsageError(f"{origin} is a relative path", remedy="use an absolute path")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            _check_file(os.fstat(file.fileno()), origin, path)
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        reraise_if_from_handler(error)
        raise UsageError(f"{origin} cannot be read: {error.strerror}") from error
    options = options_from_toml(text, origin)
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


def options_from_toml(text: bytes, origin: str) -> Options:
    """Return the options that TOML gives. Raises `UsageError`, naming *origin*."""
    return options_from_mapping(_parse(text, origin), origin)


def _parse(text: bytes, origin: str) -> dict[str, Any]:
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"{origin} is larger than {_LARGEST_FILE:,} bytes")
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{origin} is not TOML: {error}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Open what may be a FIFO, to be refused."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_file(status: os.stat_result, origin: str, path: str) -> None:
    """Refuse a file by which somebody else could say what this process loads and writes."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{origin} is not a file")
    if status.st_mode & stat.S_IWOTH:
        raise UsageError(f"{origin}: world-writable", remedy=f"chmod o-w {path}")
    if os.name == "posix" and status.st_uid not in {0, os.geteuid()}:
        raise UsageError(
            f"{origin} belongs to another user (uid {status.st_uid})",
            remedy=f"chown root {path}, or give it to the user of this process",
        )
