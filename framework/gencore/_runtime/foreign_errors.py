"""Describes and strips what foreign code has raised or returned: any attribute of it may be code.

An exception may refuse to be changed, have no text, or have causes in a circle; a class may lie
about its name. Read and changed here is only what Python itself keeps of them.
"""

import logging
import reprlib
import traceback
from typing import Any, Final

from gencore._runtime.application_errors import reraise_if_applications

__all__ = ["forget_frames", "log_raised", "shown", "text_of", "traceback_of", "type_name"]

_log: Final = logging.getLogger("gencore")
_NAME: Final[Any] = type.__dict__["__name__"]
_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"]
_CAUSE: Final[Any] = BaseException.__dict__["__cause__"]
_CONTEXT: Final[Any] = BaseException.__dict__["__context__"]
_MEMBERS: Final[Any] = BaseExceptionGroup.__dict__["exceptions"]


def type_name(value: object) -> str:
    """Return the name of the class of *value*."""
    name: str = _NAME.__get__(type(value))
    return name


def text_of(error: BaseException) -> str:
    """Return what ``str(error)`` returns, or why it does not."""
    try:
        return str.__str__(str(error))  # of no subclass
    except BaseException as raised:
        reraise_if_applications(raised)
        return f"its message cannot be shown: str() raises {type_name(raised)}"


def shown(value: object) -> str:
    """Return a short ``repr(value)``, or the name of its class."""
    try:
        return reprlib.repr(value)
    except BaseException as raised:
        reraise_if_applications(raised)
        return f"<{type_name(value)}>"


def traceback_of(error: BaseException) -> str:
    """Return an error with its traceback and its causes, in Python's words."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as raised:
        reraise_if_applications(raised)
        frames = traceback.format_tb(_TRACEBACK.__get__(error))
        return "".join([*frames, f"{type_name(error)}: {text_of(error)}\n"])


def log_raised(error: BaseException, message: str, *args: object) -> None:
    """Log *message* with an error's traceback, which `logging` itself may fail to format."""
    _log.error(f"{message}\n%s", *args, traceback_of(error).rstrip())


def forget_frames(error: BaseException) -> None:
    """Let go of the frames that an error and its causes hold, and of the files in them."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        BaseException.with_traceback(one, None)
        waiting += [_CAUSE.__get__(one), _CONTEXT.__get__(one)]
        if issubclass(type(one), BaseExceptionGroup):
            waiting += _MEMBERS.__get__(one)
