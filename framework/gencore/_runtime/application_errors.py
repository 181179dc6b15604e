"""Tells the exceptions of the application's signal handlers from those of plug-ins and the system.

Python runs a handler between any two lines of the main thread, and what it raises (a time limit by
SIGALRM, most often a `TimeoutError`, which is an `OSError`) goes through whatever is being done
there. It is for whoever called `start`, and no failure of what it met. Not known are handlers that
were compiled by Cython, which have no frames.
"""

import contextlib
import traceback
from collections.abc import Iterator
from itertools import pairwise
from types import FrameType

__all__ = ["ignored", "reraise_if_from_handler"]


def reraise_if_from_handler(error: BaseException) -> None:
    """Raise *error* again if a signal handler was being run where it was raised.

    For the beginning of every ``except`` clause that makes something else of an error, and that
    the main thread may come to.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    try:
        if any(_is_handler(inner, outer) for outer, inner in pairwise(frames)):
            raise error
    finally:
        del error, frames  # or they would keep this frame, which keeps them


@contextlib.contextmanager
def ignored(*errors: type[Exception]) -> Iterator[None]:
    """Suppress *errors*, but for those that a signal handler has raised."""
    try:
        yield
    except errors as error:
        reraise_if_from_handler(error)


def _is_handler(frame: FrameType, interrupted: FrameType) -> bool:
    """Return whether a function was called as a handler is: with the frame that it interrupts."""
    for value in frame.f_locals.values():
        if value is interrupted or (isinstance(value, tuple) and interrupted in value):
            return True
    return False
