"""The collectors that take part in one dump: how long each may take, and if it is required."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from gencore._supervisor import Call, Steps
from gencore.collector import Collector, CoreSink
from gencore.errors import TimedOut

__all__ = ["Member"]

T = TypeVar("T")
_log: Final = logging.getLogger("gencore")


@attrs.define(kw_only=True, eq=False)
class Member:
    """One collector in one dump."""

    collector: Collector
    required: bool = True
    """Whether the dump is partial without it."""
    timeout: float | None = None
    """Seconds that all its calls together may take; None: as long as the dump."""
    built_in: bool = False
    sink: CoreSink | None = None
    """What takes the core's bytes for it, until it is closed or aborted."""
    _taken: float = attrs.field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.collector.name

    def call(self, function: Callable[..., T], *args: Any) -> Steps[T]:
        """Make a call of the collector's. Raises what it raises, and `TimedOut`."""
        begin = time.monotonic()
        limit = None if self.timeout is None else max(0.0, self.timeout - self._taken)
        error = TimedOut(self.timeout or 0, f"collector {self.name!r}")
        try:
            result: T = yield Call(partial(function, *args), limit, error, self._let_go)
        finally:
            self._taken += time.monotonic() - begin
        return result

    def abort(self) -> Steps[None]:
        """Tell its sink, if it has one, to release everything."""
        sink, self.sink = self.sink, None
        if sink is not None:
            try:
                yield from self.call(sink.abort)
            except Exception:
                _log.exception("a sink of %r raised when it was told to release all", self.name)

    def _let_go(self, returned: object) -> None:
        """Release what it has made, on its own thread: it came back after it was given up."""
        sink = returned if isinstance(returned, CoreSink) else self.sink
        try:
            if sink is not None:
                sink.abort()
        except Exception:
            _log.exception("a sink of %r raised when it was told to release all", self.name)
