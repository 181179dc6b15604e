"""Finds the library for zstd: the standard one from Python 3.14 on, before that backports.zstd."""

import sys
from types import ModuleType

from gencore.errors import UsageError

__all__ = ["zstd_library"]


def zstd_library() -> ModuleType:
    """Return it, imported. Raises `UsageError` if it is missing."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise _missing() from error
    return zstd


def _missing() -> UsageError:
    if sys.version_info >= (3, 14):
        return UsageError(
            "zstd needs the module compression.zstd, which this Python was built without",
            remedy="use one that was built with libzstd",
        )
    return UsageError(
        "zstd needs the package backports.zstd, which is not installed",
        remedy="pip install 'gencore[zstd]'",
    )
