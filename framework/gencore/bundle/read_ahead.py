"""Decompresses the next block of a bundle on a thread, while the one before it is hashed."""

import contextlib
from _queue import SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections.abc import Callable
from typing import Final

from gencore._runtime.os_thread import Latch, NoThread, OsThread

__all__ = ["ReadAhead"]

_NAME: Final = "gencore-ahead"


class ReadAhead:
    """A thread, started for the first block. Where none can be, who asks for a block does it."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Block | None] = SimpleQueue()
        self._thread: OsThread | None = None

    def begin(self, work: Callable[[], bytes]) -> Callable[[], bytes]:
        """Let it do *work*. Return what waits for that, and returns or raises what it does."""
        if self._thread is None:
            with contextlib.suppress(NoThread):
                self._thread = OsThread(_each_of(self._waiting), _NAME)
        if self._thread is None:
            return work
        block = _Block(work)
        self._waiting.put(block)
        return block.result

    def close(self) -> None:
        """End the thread, without waiting for it."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread = None

    def __del__(self) -> None:
        """End it if its bundle was not read to the end."""
        self.close()


class _Block:
    """One block that the thread decompresses."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        self._work = work
        self._done = Latch()
        self._data = b""
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._data = self._work()
        except BaseException as error:  # belongs to who waits
            self._error = error
        self._done.open()

    def result(self) -> bytes:
        self._done.wait()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._data
        finally:
            del error  # its traceback has this frame: they, and with them the thread, would stay


def _each_of(waiting: "SimpleQueue[_Block | None]") -> Callable[[], None]:
    """Return the thread's function, which does not keep a `ReadAhead` alive."""

    def run() -> None:
        while (block := waiting.get()) is not None:
            block.run()

    return run
