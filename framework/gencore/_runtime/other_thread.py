"""Has another thread do one piece of work after the other, while this one does its own."""

import contextlib
import copy
from _queue import SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Generic, TypeVar

from gencore._runtime.foreign_errors import text_of, type_name
from gencore._runtime.os_thread import Latch, NoThread, OsThread

__all__ = ["WORTH_HANDING_OVER", "OtherThread", "ahead"]

WORTH_HANDING_OVER: Final = 64 << 10
"""Bytes to be hashed or decompressed: with fewer, handing them over takes longer than doing it."""

_Result = TypeVar("_Result")


class OtherThread:
    """A thread, started for the first piece. If none can be, who wants a result does that piece.

    That pays if both threads are mostly in C without the GIL, and a piece takes milliseconds.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: SimpleQueue[_Piece[Any] | None] = SimpleQueue()
        self._thread: OsThread | None = None
        self._refused = False
        """Whether none could be started: one that is later would overtake what waits."""

    def begin(self, work: Callable[[], _Result]) -> Callable[[], _Result]:
        """Let it do *work*. Return what waits for that, and returns or raises what it does.

        As often as it is called, then with a copy of the error.
        """
        if self._thread is None and not self._refused:
            try:
                self._thread = OsThread(_each_of(self._waiting), self._name)
            except NoThread:
                self._refused = True
        if self._thread is None:
            return work
        piece = _Piece(work)
        self._waiting.put(piece)
        return piece.result

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._end()

    def join(self) -> None:
        """End the thread, and wait until it has ended: it is in no core that is taken then."""
        thread = self._end()
        if thread is not None:
            thread.join()

    def _end(self) -> OsThread | None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
        return thread

    def __del__(self) -> None:
        """End it if nobody has."""
        self.close()


class _Piece(Generic[_Result]):
    """One piece of work."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work
        self._done = Latch()
        self._result: list[_Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # belongs to who waits
            self._error = error
        del self._work  # who waits for it may be what it refers to
        self._done.open()

    def result(self) -> _Result:
        self._done.wait()
        error = self._error
        if error is None:
            return self._result[0]
        self._error = _copy_of(error)
        try:
            raise error
        finally:
            del error  # its traceback has this frame: they, and with them the thread, would stay


def _copy_of(error: BaseException) -> BaseException:
    """Return its like without a traceback, and so without the frames of who asked for the result.

    They have the piece: if that kept the error itself, nothing of all this would ever go.
    """
    try:
        return copy.copy(error)
    except Exception:  # its class takes other arguments than it keeps
        return RuntimeError(f"{type_name(error)}: {text_of(error)}")


def _each_of(waiting: "SimpleQueue[_Piece[Any] | None]") -> Callable[[], None]:
    """Return the thread's function, which does not keep an `OtherThread` alive."""

    def run() -> None:
        while (piece := waiting.get()) is not None:
            piece.run()
            del piece  # or what it refers to would live until the next one comes

    return run


def ahead(items: Iterable[_Result], name: str) -> Iterator[_Result]:
    """Yield *items*, none of which is None; the next one is made meanwhile."""
    make = partial(next, iter(items), None)
    other = OtherThread(name)
    following = other.begin(make)
    try:
        while (item := following()) is not None:
            following = other.begin(make)
            yield item
    finally:
        with contextlib.suppress(Exception):  # nobody wants it
            following()  # but who is told that this is over may close what it reads from
        other.close()
