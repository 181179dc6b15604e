"""Runs steps that call foreign code, on a thread that is replaced if such a call hangs.

The steps are a generator. It yields each call of a plug-in and is sent what comes of it, so that
it never runs such code itself. A call that does not return in time stays with its thread; the
steps go on on a new one, where the call raises `TimedOut`. See docs/decisions/0012.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

import attrs

from gencore._runtime.foreign_errors import log_raised, text_of, type_name
from gencore._runtime.forked_child import end_if_forked
from gencore._runtime.os_thread import Latch, Lock, NoThread, OsThread
from gencore._runtime.return_values import refuse_awaitable
from gencore._runtime.stop_switch import StopSwitch
from gencore.errors import TimedOut

__all__ = ["Call", "Steps", "Supervisor"]

T = TypeVar("T")
_LOOK_EVERY: Final = 0.25
"""Seconds between two looks at the call that is running: how exact time limits are."""
_GRACE: Final = 1.0
"""Seconds that a call may go on after the dump was stopped."""
_BEGIN_LIMIT: Final = 5.0
"""Seconds that a new thread has to begin. One that had no memory to begin never does: then the
steps go on without a watch."""
_FAREWELL: Final = 0.1
"""Seconds that a thread has to end after the last step."""


class Call(NamedTuple):
    """One call of a plug-in, to be made by whoever runs the steps."""

    function: Callable[[], Any]
    limit: float | None = None
    """Seconds until it is given up; None: not before the dump is stopped."""
    error: Exception | None = None
    """What it then raises; None is `TimedOut`."""
    late: Callable[[Any], object] | None = None
    """Called if it was given up and returned after all, with what it returned, or None."""
    cleans_up: bool = False
    """Whether it goes on to its limit although the dump was stopped."""


Steps = Generator[Call, Any, T]


@attrs.define(eq=False)
class _Turn:
    """One thread's turn at running the steps."""

    resume: Callable[[], Call]
    thread: OsThread | None = None
    begun: bool = False
    call: Call | None = None
    """What the thread is in."""
    until: float = math.inf
    """When it is to have begun, or to have returned from the call."""
    over: bool = False
    """Whether another thread goes on in its place."""


class Supervisor(Generic[T]):
    """Runs one generator of steps. Used once."""

    def __init__(self, steps: Steps[T], stop: StopSwitch | None = None) -> None:
        self._steps = steps
        self._stop = stop
        self._owner = os.getpid()
        self._lock = Lock()
        self._ended = Latch()
        self._tick: Callable[[], object] = lambda: None
        self._next_tick = 0.0
        self._turn = _Turn(partial(next, steps))
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self, tick: Callable[[], object] = lambda: None) -> T:
        """Return the steps' value, or raise their error. *tick* is called a few times a second.

        The calling thread only watches. Where no thread can be started it runs the steps itself,
        and *tick* is called between them.
        """
        self._tick = tick
        self._start_turn(self._turn.resume)
        while not self._ended.wait(_LOOK_EVERY):
            tick()
            self._look()
        if self._turn.thread is not None:
            self._turn.thread.join(_FAREWELL)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # None only if T is

    def _look(self) -> None:
        """Go on without the thread whose turn it is, if that takes too long."""
        with self._lock:
            turn, now = self._turn, time.monotonic()
            stuck = not turn.begun and now >= turn.until
            error = self._why_give_up(turn.call, turn.until, now)
            turn.over = not self._ended.is_open and (stuck or error is not None)
        if turn.over and error is not None:
            self._start_turn(partial(self._steps.throw, error))
        elif turn.over:
            self._take_turn(_Turn(turn.resume))

    def _why_give_up(self, call: Call | None, until: float, now: float) -> Exception | None:
        if call is None:
            return None
        if now >= until:
            return call.error or TimedOut(call.limit or 0)
        stopped = self._stop is not None and now >= self._stop.stopped_at + _GRACE
        return self._stop.reason if self._stop and stopped and not call.cleans_up else None

    def _start_turn(self, resume: Callable[[], Call]) -> None:
        self._turn = turn = _Turn(resume, until=time.monotonic() + _BEGIN_LIMIT)
        try:
            turn.thread = OsThread(partial(self._take_turn, turn), "gencore-steps")
        except NoThread:  # unwatched is better than not at all
            self._take_turn(turn)

    def _take_turn(self, turn: _Turn) -> None:
        with self._lock:
            if turn.over:
                return
            turn.begun, turn.until = True, math.inf
        following: Callable[[], Call] | None = turn.resume
        try:
            while following is not None:
                following = self._make(turn, following())
                if turn.thread is None:
                    self._tick_now_and_then()
        except StopIteration as end:
            self._end(end.value, None)
        except BaseException as error:
            self._end(None, error)

    def _tick_now_and_then(self) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _LOOK_EVERY
            self._tick()

    def _make(self, turn: _Turn, call: Call) -> Callable[[], Call] | None:
        """Make a call. Return how the steps go on; None if another thread has taken over."""
        turn.until = math.inf if call.limit is None else time.monotonic() + call.limit
        turn.call = call
        value: Any = None
        try:
            try:
                value = call.function()
            finally:
                end_if_forked(self._owner)
            refuse_awaitable(value)
        except BaseException as error:
            following = partial(self._steps.throw, _as_fault(error))
        else:
            following = partial(self._steps.send, value)
        with self._lock:
            turn.call, turn.until = None, math.inf
            if not turn.over:
                return following
        if call.late is not None:
            self._call_late(call.late, value)
        return None

    def _call_late(self, late: Callable[[Any], object], value: Any) -> None:
        """Nobody waits for this thread any more: what is raised here ends nothing."""
        try:
            late(value)
        except BaseException as raised:
            log_raised(raised, "a call that was given up has returned, and could not be undone")

    def _end(self, value: T | None, error: BaseException | None) -> None:
        with self._lock:
            self._value, self._error = value, error
        self._ended.open()


def _as_fault(error: BaseException) -> BaseException:
    """Return what a plug-in raised; a `SystemExit` of a plug-in is an error like any other.

    `KeyboardInterrupt` stays what it is where it can be the user's: on the main thread.
    """
    on_main = threading.get_ident() == threading.main_thread().ident
    if issubclass(type(error), KeyboardInterrupt) and on_main:
        return error
    if issubclass(type(error), Exception) and not issubclass(type(error), StopIteration):
        return error
    return RuntimeError(f"it raised {type_name(error)}: {text_of(error)}")
