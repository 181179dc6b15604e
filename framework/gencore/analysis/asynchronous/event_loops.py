"""Finds event loops that do not run, because what they have called waits for something itself."""

import re
from collections.abc import Iterable
from typing import Final

from gencore.analysis.threads.stacks import Thread
from gencore.analysis.threads.system_calls import name_of

__all__ = ["blocked_loops"]

_LOOP: Final = re.compile(r"/asyncio/(base_events|runners)\.py$")
"""What is below a callback of a loop; uvloop's own frames are not Python's."""
_WAITS_ITSELF: Final = re.compile(r"/(asyncio|uvloop)/|/selectors\.py$")
_WAITING: Final = re.compile(
    r"p?poll|select|pselect6|(clock_)?nanosleep|recv(from|msg)|wait(4|id)|flock|futex"
)
"""What is called to wait; loops themselves have epoll_wait."""


def blocked_loops(threads: Iterable[Thread]) -> tuple[Thread, ...]:
    """Return the threads whose event loop cannot run before a system call returns.

    That the call came from the loop's own code, as its own waiting does, is none.
    """
    return tuple(thread for thread in threads if _is_blocked(thread))


def _is_blocked(thread: Thread) -> bool:
    call = name_of(thread.system_call) or ""
    waits = thread.state == "in a system call" and _WAITING.fullmatch(call)
    if not waits or not thread.frames or _WAITS_ITSELF.search(thread.frames[0].file):
        return False
    return any(_LOOP.search(frame.file) for frame in thread.frames)
