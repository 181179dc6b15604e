"""Cancels a dump at a chosen moment, from within, so that no race decides the test."""

import functools
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from gencore._pipeline.dump import Dump
from gencore._pipeline.pipeline import Pipeline
from gencore.backend import Backend
from gencore.collector import Collector, CoreSink, DumpInProgress
from gencore.report import Artifact

__all__ = ["give_up_at"]


def give_up_at(
    moment: str,
    backend: Backend,
    collector: str | Callable[[], Collector],
    directory: Path,
    **options: Any,
) -> None:
    """Make a dump, and cancel it in the core's first chunk (``write``) or in ``finish``.

    *options* are those of `Pipeline`.
    """
    handle: Future[Dump] = Future()
    pipeline = Pipeline(
        backend=backend,
        collectors=[
            collector
            if isinstance(collector, str)
            else functools.partial(_with_direct_sink, collector),
            functools.partial(_GivesUp, moment, handle),
        ],
        directory=directory,
        **options,
    )
    handle.set_result(pipeline.start())
    with pytest.raises(CancelledError):
        handle.result().result()


def _with_direct_sink(collector: Callable[[], Collector]) -> Collector:
    """Return a new one whose sink is called on the dump's own thread, before `_GivesUp`."""
    made = collector()
    begin = made.begin

    def begin_directly(dump: DumpInProgress) -> CoreSink | None:
        sink = begin(dump)
        return _DirectSink(sink) if isinstance(sink, CoreSink) else sink

    made.begin = begin_directly  # type: ignore[method-assign]  # of this object only
    return made


class _DirectSink(CoreSink):
    """Calls another sink. As a class of gencore's own, it is called without a queue."""

    def __init__(self, sink: CoreSink) -> None:
        self._sink = sink

    def write(self, chunk: memoryview) -> None:
        """Give it the bytes."""
        self._sink.write(chunk)

    def close(self) -> None:
        """Close it."""
        self._sink.close()

    def abort(self) -> None:
        """Abort it."""
        self._sink.abort()


class _GivesUp(Collector, CoreSink):
    """Cancels the dump that it takes part in, from the worker's own thread."""

    name = "gives-up"
    api_version = (1, 1)

    def __init__(self, moment: str, handle: Future[Dump]) -> None:
        self._moment = moment
        self._handle = handle

    def begin(self, dump: DumpInProgress) -> CoreSink | None:  # noqa: ARG002
        """Take the core's bytes."""
        return self

    def write(self, chunk: memoryview) -> None:  # noqa: ARG002
        """Cancel, if this is the moment."""
        self._stop_at("write")

    def finish(self, dump: DumpInProgress) -> list[Artifact]:  # noqa: ARG002
        """Cancel, if this is the moment."""
        self._stop_at("finish")
        return []

    def _stop_at(self, moment: str) -> None:
        if moment == self._moment:
            self._handle.result().cancel()
