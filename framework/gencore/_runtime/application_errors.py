"""Distinguishes exceptions of the application's signal handlers from all others.

Python runs a handler between any two lines of the main thread, and its exception (a time limit by
SIGALRM, usually a `TimeoutError`, which is an `OSError`) propagates through the code that runs
there. It is meant for the caller of `start`, and not a failure of the interrupted code. Handlers
compiled by Cython, which have no frames, are not recognized.
"""

import contextlib
import threading
import traceback
from collections.abc import Iterator
from itertools import pairwise
from types import FrameType

__all__ = ["ignored", "reraise_if_applications", "reraise_if_from_handler"]


def reraise_if_from_handler(error: BaseException) -> None:
    """Raise *error* again if it was raised by a signal handler of the application.

    To be called first in every ``except`` clause that the main thread may enter and that does not
    re-raise the error itself.
    """
    trace = BaseException.__dict__["__traceback__"].__get__(error)  # a class may have another
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    try:
        if any(_is_handler(inner, outer) for outer, inner in pairwise(frames)):
            raise error
    finally:
        del error, frames  # or they would keep this frame, which keeps them


def reraise_if_applications(error: BaseException) -> None:
    """Raise *error* again if it is meant for the application: a handler's, or Ctrl-C.

    A `KeyboardInterrupt` that foreign code raises on another thread than the main one is not.
    """
    reraise_if_from_handler(error)
    on_main = threading.get_ident() == threading.main_thread().ident
    if on_main and issubclass(type(error), KeyboardInterrupt):
        raise error


@contextlib.contextmanager
def ignored(*errors: type[Exception]) -> Iterator[None]:
    """Suppress *errors*, except those raised by a signal handler of the application."""
    try:
        yield
    except errors as error:
        reraise_if_from_handler(error)


def _is_handler(frame: FrameType, interrupted: FrameType) -> bool:
    """Return whether a function was called like a handler: with the frame that it interrupts."""
    for value in frame.f_locals.values():
        # What is compared may be foreign: its class and its equality may be code that raises.
        values = value if type(value) is tuple else (value,)
        if any(one is interrupted for one in values):
            return True
    return False
