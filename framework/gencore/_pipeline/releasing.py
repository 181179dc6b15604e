"""Lets go of what plug-ins hold: each call has a limit, and none that fails ends the dump."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from gencore._runtime.foreign_errors import log_raised
from gencore._runtime.supervisor import Call, Steps
from gencore.errors import TimedOut

__all__ = ["release"]

_LEAST: Final = 0.25
"""Seconds that a call has although those before it have used up the time."""


def release(functions: Iterable[Callable[[], object]], who: str, limit: float) -> Steps[None]:
    """Call each of *functions*, also if the dump was stopped; *limit* seconds for all of them.

    One that raises or hangs is logged with *who*, and the next one is called.
    """
    until = time.monotonic() + limit
    for function in functions:
        left = max(_LEAST, until - time.monotonic())
        try:
            yield Call(function, left, TimedOut(limit, who), cleans_up=True)
        except Exception as raised:
            log_raised(raised, "%s did not release everything", who)
