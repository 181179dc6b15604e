"""Says whose code a file is, by where it lies: the application's, a package's, Python's, ours."""

import re
from typing import Final, Literal

__all__ = ["Origin", "origin_of"]

Origin = Literal["application", "package", "standard library", "gencore"]

_ORIGINS: Final[tuple[tuple[re.Pattern[str], Origin], ...]] = (
    (
        re.compile(
            r"/(site-packages|dist-packages|framework|backends|collectors)"
            r"/gencore(_backends|_collectors)?/"
        ),
        "gencore",
    ),
    (re.compile(r"/(site|dist)-packages/|/bin/[^/.]+$|^<attrs "), "package"),
    (
        re.compile(r"/lib(64)?/python3[.\d]*[a-z]?/|/python3\d+\.zip/|^<frozen "),
        "standard library",
    ),
)
"""How the path of a file looks, the first that is found."""


def origin_of(file: str) -> Origin:
    """Return whose code a file is."""
    return next((origin for path, origin in _ORIGINS if path.search(file)), "application")
