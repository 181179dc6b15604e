"""Gives a sink its bytes on a thread of its own, from a queue with room for 32 MiB.

The dump's own thread goes on meanwhile: a slow sink keeps neither the other sinks waiting nor the
process of a snapshot alive. See docs/decisions/0012.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from gencore._runtime.forked_child import end_if_forked
from gencore._runtime.os_thread import Latch, Lock, NoThread, OsThread
from gencore._runtime.return_values import require_none
from gencore._runtime.stop_switch import StopSwitch
from gencore.collector import CoreSink
from gencore.errors import GencoreError, TimedOut

__all__ = ["GRACE", "SinkQueue", "write_to"]

_CAPACITY: Final = 32 << 20
"""Bytes that one sink may be behind."""
_STALL_LIMIT: Final = 5.0
"""Seconds in total that a dump waits for room in the queue of one sink."""
_BEGIN_LIMIT: Final = 5.0
"""Seconds that the sink's thread has to begin."""
GRACE: Final = 1.0
"""Seconds that a call may go on after the sink was abandoned."""
_MIB: Final = 1 << 20


def write_to(sink: CoreSink, chunk: memoryview) -> None:
    """Give *sink* the next bytes. Raises what it raises, and `TypeError`."""
    returned: object = sink.write(chunk)
    require_none(returned, "write")


class SinkQueue:
    """The calls of one sink, made in order on another thread. Raises `NoThread`.

    `put` and `close` raise what the sink has raised, and `TimedOut`: then it is to be abandoned.

    Args:
        sink: What takes the bytes.
        collector: Whose it is, for messages.
        core_size: Bytes that are to come, for messages.
        limit: Seconds that all calls of the collector may take; None: no limit.
        used: Seconds of that which are used up.
        stop: Once it is stopped, the sink gets no more bytes.
        release: Called on the sink's thread if that was left behind in a call, and the call
            returns after all.
    """

    def __init__(
        self,
        sink: CoreSink,
        *,
        collector: str,
        core_size: int,
        limit: float | None,
        used: float,
        stop: StopSwitch,
        release: Callable[[], object],
    ) -> None:
        self._sink = sink
        self._collector = collector
        self._core_size = core_size
        self._stop = stop
        self._release = release
        self._clock = _Clock(math.inf if limit is None else limit, used)
        self._lock = Lock()
        self._changed = Latch()  # opened, and replaced by another, at each change of what follows
        self._ended = Latch()  # no call goes on, and none will follow
        self._chunks: deque[bytes] = deque()
        self._queued = 0  # bytes, those of the call that goes on included
        self._taken = 0
        self._stalled = 0.0
        self._complete = self._abandoned = self._given_up = self._left_behind = False
        self._error: BaseException | None = None
        self._owner = os.getpid()
        self._start()

    def _start(self) -> None:
        if not OsThread(self._run, "gencore-sink").begun.wait(_BEGIN_LIMIT):
            self._abandoned = True
            raise NoThread("no memory for a thread")

    @property
    def used(self) -> float:
        """Seconds that the calls of the collector have taken so far."""
        return self._clock.seconds

    def put(self, chunk: memoryview) -> None:
        """Copy *chunk* into the queue, as soon as there is room for it."""
        data, begin = chunk.tobytes(), time.monotonic()
        while (changed := self._append(data)) is not None:
            left = _STALL_LIMIT - self._stalled - (time.monotonic() - begin)
            if left <= 0:
                self._give_up(_TooSlow(self._collector, self._taken, self._core_size))
            self._wait(changed, left)
        self._stalled += time.monotonic() - begin

    def close(self) -> None:
        """Wait until the sink has taken everything, and was closed."""
        with self._lock:
            self._complete = True
            self._announce()
        while (changed := self._unfinished()) is not None:
            self._wait(changed, math.inf)

    def abandon(self) -> bool:
        """Let no further call be made. Return whether none goes on, after `GRACE` at most."""
        with self._lock:
            self._abandoned = True
            self._chunks.clear()
            self._announce()
        self._ended.wait(0 if self._given_up else GRACE)
        with self._lock:
            self._left_behind = not self._ended.is_open
        return not self._left_behind

    def _append(self, data: bytes) -> Latch | None:
        """Queue *data*, if it is still wanted. Without room, return what to wait for."""
        self._check_time()
        with self._lock:
            if self._wants_nothing():
                return None
            if self._queued and self._queued + len(data) > _CAPACITY:
                return self._changed
            self._chunks.append(data)
            self._queued += len(data)
            self._announce()
        return None

    def _unfinished(self) -> Latch | None:
        with self._lock:
            return None if self._wants_nothing() else self._changed

    def _wants_nothing(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._abandoned or self._ended.is_open

    def _wait(self, changed: Latch, limit: float) -> None:
        changed.wait(min(limit, self._clock.left))
        self._check_time()

    def _check_time(self) -> None:
        if self._clock.left <= 0 and not self._ended.is_open:
            self._give_up(TimedOut(self._clock.limit, f"collector {self._collector!r}"))

    def _give_up(self, error: TimedOut) -> None:
        self._given_up = True
        raise error

    def _announce(self) -> None:
        """Wake whoever waits for a change. With the lock held."""
        changed, self._changed = self._changed, Latch()
        changed.open()

    def _run(self) -> None:
        """Make the calls. This is the sink's thread."""
        try:
            while (chunk := self._next()) is not None:
                self._clock.time(partial(write_to, self._sink, memoryview(chunk)))
                end_if_forked(self._owner)
                self._note_taken(len(chunk))
            if not self._is_unwanted():
                self._clock.time(self._close)
        except BaseException as error:  # raised again where the dump's thread waits
            self._error = error
        end_if_forked(self._owner)
        with self._lock:
            self._ended.open()
            self._announce()
            left_behind = self._left_behind
        if left_behind:
            self._release()

    def _close(self) -> None:
        returned: object = self._sink.close()  # type: ignore[func-returns-value]  # that of others may
        require_none(returned, "close")

    def _next(self) -> bytes | None:
        """Wait for the next bytes; None if no more come."""
        while True:
            with self._lock:
                if self._is_unwanted():
                    return None
                if self._chunks:
                    return self._chunks.popleft()
                if self._complete:
                    return None
                changed = self._changed
            changed.wait()

    def _is_unwanted(self) -> bool:
        return self._abandoned or self._stop.reason is not None

    def _note_taken(self, size: int) -> None:
        with self._lock:
            self._taken += size
            self._queued -= size
            self._announce()


class _Clock:
    """Adds up how long calls take; read by another thread."""

    def __init__(self, limit: float, seconds: float) -> None:
        self.limit = limit
        self._state: tuple[float, float | None] = (seconds, None)  # replaced as a whole

    @property
    def seconds(self) -> float:
        before, since = self._state
        return before if since is None else before + time.monotonic() - since

    @property
    def left(self) -> float:
        return self.limit - self.seconds

    def time(self, function: Callable[[], object]) -> None:
        self._state = (self.seconds, time.monotonic())
        try:
            function()
        finally:
            self._state = (self.seconds, None)


class _TooSlow(TimedOut):
    """A sink takes the core more slowly than the core comes."""

    def __init__(self, collector: str, taken: int, size: int) -> None:
        GencoreError.__init__(
            self,
            f"collector {collector!r} is slower than the core: it took {taken / _MIB:,.0f} of "
            f"{size / _MIB:,.0f} MiB, and held the dump up for {_STALL_LIMIT:g} s",
            remedy="let its sink write to a disk, and send the file in finish()",
        )
        self.seconds = _STALL_LIMIT
        self.part = f"collector {collector!r}"
