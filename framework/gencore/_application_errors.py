"""Tells the exceptions of the application's signal handlers from those of plug-ins.

Python runs a handler between any two lines of the main thread, and what it raises (a time limit by
SIGALRM, most often) goes through whatever is being done there. It is for whoever called `start`,
and no failure of the backend or collector it met.
"""

import functools
import signal
import traceback
from types import CodeType

__all__ = ["pass_on_the_applications"]


def pass_on_the_applications(error: BaseException) -> None:
    """Raise *error* again if a signal handler was being run where it was raised."""
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    if any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__)):
        try:
            raise error
        finally:
            del error  # or it would keep this frame, which keeps it


def _code_of(handler: object) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not callable(handler):
        return None
    code: CodeType | None = getattr(handler, "__code__", None)  # a method passes its function's on
    return code or getattr(handler.__call__, "__code__", None)
