"""Has this process dumped at an exception that nobody has caught, before it ends of it."""

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from gencore._escaping import escape_unprintable

if TYPE_CHECKING:
    from gencore.arming import Agent

__all__ = ["ask", "keep"]

_LIMIT: Final = 30.0
"""Seconds that the instant is waited for: an interpreter has to start, and load gencore."""
_LONGEST: Final = 500
"""Bytes."""
_TRACEBACK: Final = BaseException.__dict__["__traceback__"]
_MODULE: Final = type.__dict__["__module__"]
_QUALNAME: Final = type.__dict__["__qualname__"]
"""A class may have others by these names, which raise."""
_agents: "Final[list[Agent]]" = []
"""The one that is asked, while there is a trigger."""
_hooks: Final[list[Callable[..., object]]] = []
"""Ours, once they are in their places. Others may be wrapped around them, so they stay."""


def keep(agent: "Agent", *, wanted: bool) -> None:
    """Put the hooks of this process in their places, or let them do nothing."""
    _agents[:] = [agent] if wanted else []
    if wanted and not _hooks:
        _wrap_hooks()


def ask(error: BaseException) -> None:
    """Have the process dumped; return as soon as it is captured, or is not going to be."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return
    for agent in _agents:
        agent.ask_for_dump(_line(_describe(error)), _LIMIT)


def _line(text: str) -> bytes:
    """Make it a part of one line of a log, of whole characters, as long as the agent takes it."""
    return escape_unprintable(text).encode()[:_LONGEST].decode(errors="ignore").encode()


def _describe(error: BaseException) -> str:
    """Return type and place: the text of an exception may have anybody's data in it."""
    place, at = "", _TRACEBACK.__get__(error)
    while at is not None:
        code = at.tb_frame.f_code
        place = f" in {code.co_qualname}, {code.co_filename}:{at.tb_lineno}"
        at = at.tb_next
    module, name = (part.__get__(type(error)) for part in (_MODULE, _QUALNAME))
    return f"{module}.{name}{place}"


def _wrap_hooks() -> None:
    of_main, of_threads = sys.excepthook, threading.excepthook

    def main_hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> Any:
        ask(error)
        return of_main(kind, error, traceback)

    def thread_hook(arguments: Any) -> Any:
        if arguments.exc_value is not None:
            ask(arguments.exc_value)
        return of_threads(arguments)

    _hooks[:] = [main_hook, thread_hook]
    sys.excepthook, threading.excepthook = main_hook, thread_hook
