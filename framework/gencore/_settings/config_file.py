"""Reads the file of GENCORE_CONFIG, if it is one that can be trusted.

Loads little: a process that is armed looks there for its triggers.
"""

import os
import stat
from typing import Any, Final

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore.errors import UsageError

__all__ = ["parse_toml", "read_config_file"]

_LARGEST_FILE: Final = 1 << 20
"""Bytes."""


def read_config_file(path: str) -> dict[str, Any]:
    """Return what is in the TOML file. Raises `UsageError`."""
    origin = f"GENCORE_CONFIG={path}"
    if not os.path.isabs(path):  # noqa: PTH117 - no objects
        raise UsageError(f"{origin} is a relative path", remedy="use an absolute path")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            _check_file(os.fstat(file.fileno()), origin, path)
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        reraise_if_from_handler(error)
        raise UsageError(f"{origin} cannot be read: {error.strerror}") from error
    return parse_toml(text, origin)


def parse_toml(text: bytes, origin: str) -> dict[str, Any]:
    """Return what is in a text. Raises `UsageError`, naming *origin*."""
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"{origin} is larger than {_LARGEST_FILE:,} bytes")
    import tomllib  # most processes have no such file

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
