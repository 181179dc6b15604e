"""The entry points of gencore's own distribution, read without a search of all that is installed.

Loads little, as `gencore.arming`: `importlib.metadata` is loaded only where the distribution is no
folder on `sys.path`. It takes as long as all else that a service needs to be armed.
"""

import sys
from contextlib import suppress
from os.path import isabs
from typing import Final

from gencore._version import __version__

__all__ = ["DISTRIBUTION", "own_entry_points"]

DISTRIBUTION: Final = "gencore"
_FOLDER: Final = f"{DISTRIBUTION}-{__version__}.dist-info"
_FILE: Final = "entry_points.txt"


def own_entry_points(group: str) -> dict[str, str]:
    """Return what each name of a group leads to, such as ``module:attribute``."""
    section = _text().partition(f"[{group}]\n")[2].partition("\n[")[0]
    rows = (line.partition("=") for line in section.splitlines())
    return {name.strip(): value.strip() for name, _, value in rows if value}


def _text() -> str:
    for place in sys.path:
        path = f"{place}/{_FOLDER}/{_FILE}"
        if not isabs(path):  # noqa: PTH117 - below
            continue  # the working directory may be anyone's
        with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is loaded in 4 ms
            return file.read()
    from importlib.metadata import PackageNotFoundError, distribution

    with suppress(PackageNotFoundError):
        return distribution(DISTRIBUTION).read_text(_FILE) or ""
    return ""
