"""Runs steps that call foreign code, on a thread that is replaced where such a call hangs.

The steps are a generator. It yields each call of a plug-in and is sent what comes of it, so that
it never runs such code itself. A call that does not return in time stays with its thread; the
steps go on on a new one, where the call raises `TimedOut`. See docs/decisions/0012.
"""

import math
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, Generic, TypeVar

import attrs

from gencore._dump import StopSwitch
from gencore.errors import TimedOut

__all__ = ["Call", "Steps", "Supervisor"]

T = TypeVar("T")
_LOOK_EVERY: Final = 0.25
"""Seconds between two looks at the call that is running: how exact time limits are."""
_GRACE: Final = 1.0
"""Seconds that a call may go on after the dump was stopped."""


@attrs.frozen
class Call:
    """One call of a plug-in, to be made by whoever runs the steps."""

    function: Callable[[], Any]
    limit: float | None = None
    """Seconds until it is given up; None: not before the dump is stopped."""
    error: Exception | None = None
    """What it then raises; None is `TimedOut`."""
    late: Callable[[Any], object] | None = None
    """Called if it was given up and returned after all, with what it returned, or None."""


Steps = Generator[Call, Any, T]


@attrs.define(eq=False)
class _Turn:
    """One thread's turn at running the steps. Only its own thread sets `call` and `until`."""

    call: Call | None = None
    until: float = math.inf
    over: bool = False
    """Whether another thread goes on in its place."""


class Supervisor(Generic[T]):
    """Runs one generator of steps. Used once."""

    def __init__(self, steps: Steps[T], stop: StopSwitch | None = None) -> None:
        self._steps = steps
        self._stop = stop
        self._changed = threading.Condition()
        self._turn = _Turn()
        self._ended = False
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self, tick: Callable[[], object] = lambda: None) -> T:
        """Return the steps' value, or raise their error. *tick* is called a few times a second.

        The calling thread only watches. Where no thread can be started it runs the steps itself.
        """
        self._start_turn(partial(next, self._steps))
        while not self._wait():
            tick()
            error = self._why_give_up()
            if error is not None:
                self._start_turn(partial(self._steps.throw, error))
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # None only if T is

    def _wait(self) -> bool:
        with self._changed:
            return self._ended or self._changed.wait(_LOOK_EVERY)

    def _why_give_up(self) -> Exception | None:
        """End the current turn if its call takes too long; return what the call then raises."""
        with self._changed:
            call, now = self._turn.call, time.monotonic()
            if call is None or self._turn.over:
                return None
            error: Exception | None = None
            if now >= self._turn.until:
                error = call.error or TimedOut(call.limit or 0)
            elif self._stop is not None and now >= self._stop.stopped_at + _GRACE:
                error = self._stop.reason
            self._turn.over = error is not None
            return error

    def _start_turn(self, resume: Callable[[], Call]) -> None:
        self._turn = turn = _Turn()
        target = partial(self._take_turn, turn, resume)
        try:
            threading.Thread(target=target, name="gencore-dump", daemon=True).start()
        except RuntimeError:  # no more threads: unwatched is better than not at all
            target()

    def _take_turn(self, turn: _Turn, resume: Callable[[], Call]) -> None:
        following: Callable[[], Call] | None = resume
        try:
            while following is not None:
                following = self._make(turn, following())
        except StopIteration as end:
            self._end(end.value, None)
        except BaseException as error:
            self._end(None, error)

    def _make(self, turn: _Turn, call: Call) -> Callable[[], Call] | None:
        """Make a call. Return how the steps go on; None if another thread has taken over."""
        turn.until = math.inf if call.limit is None else time.monotonic() + call.limit
        turn.call = call
        value: Any = None
        try:
            value = call.function()
        except BaseException as error:
            following = partial(self._steps.throw, error)
        else:
            following = partial(self._steps.send, value)
        with self._changed:
            turn.call = None
            if not turn.over:
                return following
        if call.late is not None:
            call.late(value)
        return None

    def _end(self, value: T | None, error: BaseException | None) -> None:
        with self._changed:
            self._value, self._error, self._ended = value, error, True
            self._changed.notify_all()
