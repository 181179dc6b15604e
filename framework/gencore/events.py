"""What a dump tells while it goes on, for ``on_event``: typed, in order, never inside the pause.

::

    StageStarted        a stage begins
    StageProgress       bytes of the core that are through it; a few times a second
    StageFinished       it has ended, with its error if it failed
    DumpFinished        once, last

The stages are ``pause`` (told when it is over), ``libraries`` (if there is a bundle), ``core``,
each collector by its name, and ``publish``.
"""

from collections.abc import Callable
from datetime import datetime

import attrs

from gencore.report import Report

__all__ = [
    "DumpFinished",
    "Event",
    "Listener",
    "StageFinished",
    "StageProgress",
    "StageStarted",
]


@attrs.frozen(kw_only=True)
class StageStarted:
    """A stage begins."""

    dump: str
    """The dump's name."""
    stage: str
    at: datetime
    """UTC."""


@attrs.frozen(kw_only=True)
class StageProgress:
    """A stage goes on."""

    dump: str
    stage: str
    done: int
    """Bytes of the core."""
    total: int | None
    """Bytes of the whole core; None if that is not known yet."""


@attrs.frozen(kw_only=True)
class StageFinished:
    """A stage has ended."""

    dump: str
    stage: str
    at: datetime
    """UTC."""
    seconds: float
    error: str | None
    """Why it failed; None if it did not."""
    traceback: str | None = attrs.field(default=None, repr=False)
    """Where it failed, in Python's words."""


@attrs.frozen(kw_only=True)
class DumpFinished:
    """The dump has ended."""

    dump: str
    report: Report | None
    """None if it was cancelled, or a fault of gencore itself ended it."""
    error: BaseException | None
    """`concurrent.futures.CancelledError`, or that fault."""


Event = StageStarted | StageProgress | StageFinished | DumpFinished
"""Any of them."""
Listener = Callable[[Event], object]
"""What ``on_event`` takes."""
