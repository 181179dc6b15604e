"""The collectors that take part in one dump: how long each may take, and if it is required."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from gencore._pipeline.own_code import is_own
from gencore._pipeline.releasing import release
from gencore._pipeline.sink_queue import SinkQueue, write_to
from gencore._runtime.application_errors import reraise_if_applications
from gencore._runtime.foreign_errors import log_raised
from gencore._runtime.os_thread import NoThread
from gencore._runtime.return_values import refuse_awaitable
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Steps
from gencore.collector import Collector, CoreSink
from gencore.errors import TimedOut

__all__ = ["ABORT_LIMIT", "Participant"]

T = TypeVar("T")
ABORT_LIMIT: Final = 5.0
"""Seconds that a sink has to release everything, and that its artefacts have to be removed."""


@attrs.define(kw_only=True, eq=False)
class Participant:
    """One collector in one dump, with what its class says about it: that is read once."""

    collector: Collector
    name: str
    packs: bool
    keeps_core: bool
    hashes_core: bool = False
    makes_files: bool
    reserves: tuple[str, ...] = ()
    """Names of artefacts that are its alone."""
    timeout: float | None
    """Seconds that all its calls together may take; None: as long as the dump."""
    required: bool = True
    """Whether the dump is partial without it."""
    built_in: bool = False
    _sinks: list[CoreSink] = attrs.field(factory=list, init=False)
    """What takes the core's bytes for it: one, or none. Whoever takes it out ends it."""
    _queue: SinkQueue | None = attrs.field(default=None, init=False)
    """Through which the sink of another distribution is called; None: directly."""
    _taken: float = attrs.field(default=0.0, init=False)
    _inside: bool = attrs.field(default=False, init=False)
    """Whether a call that was given up has not returned."""

    @property
    def sink(self) -> CoreSink | None:
        """What takes the core's bytes for it, until it is let go."""
        return self._sinks[0] if self._sinks else None

    @property
    def is_left_behind(self) -> bool:
        """Whether a call of it goes on that nobody waits for any more."""
        return self._inside

    def take_sink(self, sink: CoreSink, core_size: int, stop: StopSwitch) -> None:
        """Note what takes the core's bytes for it, *core_size* of them.

        Those of other distributions get a thread of their own, if one can be started.
        """
        self._sinks.append(sink)
        if not (self.built_in or is_own(type(sink))):
            with suppress(NoThread):
                self._queue = SinkQueue(
                    sink,
                    collector=self.name,
                    core_size=core_size,
                    limit=self.timeout,
                    used=self._taken,
                    stop=stop,
                    release=self._abort_sink,
                )

    def give(self, chunk: memoryview) -> Steps[None]:
        """Give its sink the next bytes. Raises as `call`."""
        if self._queue is None:
            yield from self.call(write_to, self._sinks[0], chunk)
        else:
            yield Call(partial(self._queue.put, chunk))

    def close_sink(self) -> Steps[None]:
        """Let its sink know that the core is whole, once it has all of it. Raises as `call`."""
        if self._queue is None:
            yield from self.call(self._sinks[0].close)
        else:
            yield Call(self._queue.close)
            self._taken, self._queue = self._queue.used, None

    def release_sink(self) -> None:
        """Let the sink go without a word: `finish` cares for what it holds."""
        self._sinks.clear()

    def call(self, function: Callable[..., T], *args: Any) -> Steps[T]:
        """Make a call of the collector's. Raises what it raises, and `TimedOut`."""
        limit = None if self.timeout is None else self.timeout - self._taken
        error = None
        if limit is not None:  # not for nothing, at each chunk of the core
            error = TimedOut(self.timeout or 0, f"collector {self.name!r}")
            if limit <= 0:
                raise error
        begin = time.monotonic()
        self._inside = True
        try:
            result: T = yield Call(partial(self._make, function, *args), limit, error, self._late)
        finally:
            self._taken += time.monotonic() - begin
        return result

    def _make(self, function: Callable[..., T], *args: Any) -> T:
        try:
            return function(*args)
        finally:
            self._inside = False

    def abort(self) -> Steps[None]:
        """Tell its sink, if it has one, to release everything, unless a call of it goes on."""
        queue, self._queue = self._queue, None
        if queue is not None:  # in a call that does not return its thread does it afterwards
            self._inside = not (yield Call(queue.abandon, cleans_up=True))
        if self._sinks and not self._inside:
            yield from release([self._abort_sink], f"collector {self.name!r}", ABORT_LIMIT)

    def _late(self, returned: object) -> None:
        """Release what it holds, on the thread on which it was left behind."""
        if isinstance(returned, CoreSink) and not self._sinks:
            self._sinks.append(returned)
        self._abort_sink()

    def _abort_sink(self) -> None:
        try:
            sink = self._sinks.pop()
        except IndexError:  # there is none, or another thread has taken it
            return
        try:
            refuse_awaitable(sink.abort())  # type: ignore[func-returns-value]  # that of others may
        except BaseException as error:
            reraise_if_applications(error)
            log_raised(error, "a sink of %r raised when it was told to release all", self.name)
