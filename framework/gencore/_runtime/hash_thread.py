"""Hashes on a thread of its own, while the same bytes are written by another one."""

from _queue import SimpleQueue  # noqa: PLC2701 - gevent has put another into queue
from collections.abc import Callable

from gencore._runtime.os_thread import Latch, OsThread

__all__ = ["HashThread"]


class HashThread:
    """A thread that gives pieces to *update*, in order, until `end`. Raises `NoThread`."""

    def __init__(self, update: Callable[[memoryview], object]) -> None:
        self._pieces: SimpleQueue[tuple[memoryview, Latch] | None] = SimpleQueue()
        self._update = update
        self._done = Latch()
        self._error: BaseException | None = None
        OsThread(self._run, "gencore-hash")

    def begin(self, piece: memoryview) -> None:
        """Begin with a piece, whose bytes must not change until `wait` has returned."""
        self._done = Latch()
        self._pieces.put((piece, self._done))

    def wait(self) -> None:
        """Wait until the piece is done. Raises what *update* has raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Let the thread end. It is not waited for: it has nothing left to do."""
        self._pieces.put(None)

    def _run(self) -> None:
        while (given := self._pieces.get()) is not None:
            piece, done = given
            try:
                self._update(piece)
            except BaseException as error:  # belongs to who waits
                self._error = error
            done.open()
