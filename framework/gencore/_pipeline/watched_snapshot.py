"""Takes the snapshot of a third party's backend, on a thread that is left behind if it hangs."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from gencore._runtime.calling_thread import note_calling_thread
from gencore._runtime.foreign_errors import log_raised, text_of, type_name
from gencore._runtime.os_thread import Latch
from gencore._runtime.supervisor import Call, Steps, Supervisor
from gencore.backend import Snapshot
from gencore.errors import CoreFailed, TimedOut

__all__ = ["take_watched"]


def take_watched(snapshot: Callable[[], Any], limit: float, backend: str) -> Any:
    """Return what *snapshot* returns. Raises `TimedOut` after *limit* seconds, and `CoreFailed`.

    It runs with the context variables of the caller. What comes too late is closed.
    """
    context = copy_context()
    context.run(note_calling_thread)
    handover = _Handover(partial(context.run, snapshot), backend)

    def steps() -> Steps[Any]:
        error = TimedOut(limit, f"snapshot() of backend {backend!r}")
        return (yield Call(handover.take, limit, error))

    try:
        return Supervisor(steps()).run()
    except BaseException:  # Ctrl-C too: then nobody has what was taken
        handover.refuse()
        raise


class _Handover:
    """One snapshot, from the thread on which it is taken to the one that waits for it.

    Whoever comes second, with the snapshot or with the word that nobody wants it, closes it.
    """

    def __init__(self, snapshot: Callable[[], Any], backend: str) -> None:
        self._snapshot = snapshot
        self._backend = backend
        self._first = Latch()
        self._taken: Any = None

    def take(self) -> Any:
        self._taken = self._take()
        if not self._first.open():
            self._close()
        return self._taken

    def refuse(self) -> None:
        if not self._first.open():
            self._close()

    def _take(self) -> Any:
        try:
            return self._snapshot()
        except Exception:
            raise
        except BaseException as error:
            if threading.get_ident() == threading.main_thread().ident:
                raise  # Ctrl-C, where no thread could be started
            detail = f"backend {self._backend!r} raised {type_name(error)}: {text_of(error)}"
            raise CoreFailed("snapshot", detail=detail) from error

    def _close(self) -> None:
        try:
            if isinstance(self._taken, Snapshot):
                self._taken.close()
        except Exception as raised:
            log_raised(raised, "a late snapshot of backend %r could not be closed", self._backend)
