"""Makes one call of another distribution's code, and goes on without it if it hangs."""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Final, TypeVar

from gencore._runtime.supervisor import Call, Steps, Supervisor
from gencore.errors import TimedOut

__all__ = ["watched"]

T = TypeVar("T")
_ANSWER_LIMIT: Final = 5.0
"""Seconds that a plug-in has for an answer before the pause."""


def watched(function: Callable[[], T], who: str) -> T:
    """Return what code of another distribution returns, or raise `TimedOut` if it hangs.

    It runs on another thread, with the context variables of this one.
    """
    run = partial(copy_context().run, function)

    def steps() -> Steps[T]:
        result: T = yield Call(run, _ANSWER_LIMIT, TimedOut(_ANSWER_LIMIT, who))
        return result

    return Supervisor(steps()).run()
