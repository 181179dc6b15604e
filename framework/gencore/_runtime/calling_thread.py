"""Knows whose dump it is, where the snapshot is taken on another thread than the caller's."""

from contextvars import ContextVar
from typing import Final

from gencore._runtime.os_thread import get_native_id

__all__ = ["calling_thread", "note_calling_thread"]

_noted: Final[ContextVar[int]] = ContextVar("gencore_calling_thread")


def calling_thread() -> int:
    """Return the kernel's id of the thread that has asked for the dump, for `Backend.snapshot`.

    Anywhere else it is the current thread's, as `threading.get_native_id`.
    """
    tid = _noted.get(None)
    return get_native_id() if tid is None else tid


def note_calling_thread() -> None:
    """Make this thread the one that has asked, in the current context."""
    _noted.set(get_native_id())
