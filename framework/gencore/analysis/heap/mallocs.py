"""Recognises a malloc that a dumped process had in place of the C library's, by its library."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from gencore.analysis.interpreter.memory import Memory

__all__ = ["malloc_loaded"]

_LIBRARIES: Final[Mapping[str, str]] = {
    "libjemalloc": "jemalloc",
    "libmimalloc": "mimalloc",
    "libtcmalloc": "tcmalloc",
}
"""How their names begin."""


def malloc_loaded(memory: Memory) -> str | None:
    """Return the name of such a malloc; None if no library of one is mapped.

    One that is mapped need not be in use: a library may have it for itself.
    """
    names = {PurePath(piece.path).name for piece in memory.pieces if piece.path}
    found = (known for name in sorted(names) for known in _LIBRARIES if name.startswith(known))
    return next((_LIBRARIES[known] for known in found), None)
