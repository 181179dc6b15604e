"""Where each Python thread of this interpreter is."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Final

from gencore._runtime.os_thread import get_ident

__all__ = ["current_frames"]

_MIXES_INTERPRETERS: Final = (3, 12) <= sys.version_info < (3, 14)


def current_frames() -> Mapping[int, FrameType]:
    """Return the innermost frame of each thread by its `threading.get_ident`.

    Only the calling thread's where CPython 3.12 or 3.13 runs other interpreters: there
    `sys._current_frames` takes in their threads too, and makes for them, with this interpreter's
    allocator, objects that they free with their own. It aborts the process.
    """
    if _MIXES_INTERPRETERS and _other_interpreters():
        return {get_ident(): sys._getframe(1)}  # noqa: SLF001 - the caller's
    return sys._current_frames()  # noqa: SLF001 - the documented way, see its own docs


def _other_interpreters() -> bool:
    """Whether any was made through the module of the standard library that makes them."""
    module = sys.modules.get("_interpreters") or sys.modules.get("_xxsubinterpreters")
    return module is not None and len(module.list_all()) > 1
