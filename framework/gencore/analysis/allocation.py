"""How a process that answers a question about a core gets its memory: see docs/decisions/0039."""

import os
from contextlib import suppress
from typing import Final

__all__ = ["reuse_memory"]

_HUGE_PAGES: Final = "NUMPY_MADVISE_HUGEPAGE"
"""What numpy looks at when it is imported."""


def reuse_memory() -> None:
    """Let this process keep what it frees, for its next array; call it before numpy is imported.

    What of that is impossible costs time.
    """
    os.environ.setdefault(_HUGE_PAGES, "0")
    with suppress(ImportError):  # built without its C part
        from gencore.analysis import _allocation

        _allocation.keep_freed()
