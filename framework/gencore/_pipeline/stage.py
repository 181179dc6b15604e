"""Times the stages of a dump, for its report and for whoever listens."""

import time
from collections.abc import Iterable
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from gencore._listeners.announcer import Announcer
from gencore._pipeline.state import DumpState
from gencore._runtime.foreign_errors import traceback_of
from gencore._runtime.supervisor import Steps
from gencore.events import StageFinished, StageStarted
from gencore.report import Stage, describe_error

__all__ = ["StageLog"]

T = TypeVar("T")


class StageLog:
    """The stages of one dump."""

    def __init__(self, dump: DumpState, announcers: Iterable[Announcer]) -> None:
        self.current = "pause"
        """The stage that is going on, or was the last one. Read from any thread."""
        self._dump = dump
        self._announcers = announcers

    def pause_is_over(self) -> None:
        """Announce the pause, of which nobody was told while it went on."""
        begin = self._dump.paused_at or self._dump.created_at
        seconds = self._dump.pause.total
        self._announce(StageStarted(dump=self._dump.name, stage="pause", at=begin))
        self._announce(self._finished(Stage(name="pause", started_at=begin, seconds=seconds)))

    def stage(self, name: str, steps: Steps[T]) -> Steps[T]:
        """Go through *steps* as the stage *name*."""
        self.current = name
        started_at, begin = datetime.now(UTC), time.perf_counter()
        self._announce(StageStarted(dump=self._dump.name, stage=name, at=started_at))
        error: str | None = None
        trace: str | None = None
        try:
            return (yield from steps)
        except BaseException as raised:
            cancelled = issubclass(type(raised), CancelledError)
            error = "cancelled" if cancelled else describe_error(raised)
            trace = None if cancelled else traceback_of(raised)
            raise
        finally:
            seconds = time.perf_counter() - begin
            ended = Stage(
                name=name, started_at=started_at, seconds=seconds, error=error, traceback=trace
            )
            self._dump.stages.append(ended)
            self._announce(self._finished(ended))

    def _finished(self, ended: Stage) -> StageFinished:
        return StageFinished(
            dump=self._dump.name,
            stage=ended.name,
            at=ended.started_at + timedelta(seconds=ended.seconds),
            seconds=ended.seconds,
            error=ended.error,
            traceback=ended.traceback,
        )

    def _announce(self, event: StageStarted | StageFinished) -> None:
        for announcer in self._announcers:
            announcer.tell(event)
