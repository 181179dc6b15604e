"""Writes chunks on another thread while the next one is read."""

from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

from gencore._runtime.other_thread import OtherThread

__all__ = ["WriteBehind"]

_ROOM: Final = 1 << 20
"""Bytes that may be put at once: those of a chunk of a core."""
_ROOMS: Final = 3
"""Chunks that there is room for: one that is read, one that is written, and one between them."""


class WriteBehind:
    """Calls *write* with one chunk after the other. What it raises, a later call raises."""

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._write = write
        self._thread = OtherThread("gencore-write")
        self._pending: deque[Callable[[], object]] = deque()

    @cached_property
    def _rooms(self) -> deque[memoryview]:
        return deque(memoryview(bytearray(_ROOM)) for _ in range(_ROOMS))

    def room(self) -> memoryview:
        """Return where the next chunk may be put: any other is written at once."""
        return self._rooms[0]

    def write(self, chunk: memoryview) -> None:
        """Write *chunk*, behind all before it."""
        if "_rooms" in vars(self) and chunk.obj is self._rooms[0].obj:
            self._rooms.rotate(-1)
            self._pending.append(self._thread.begin(partial(self._write, chunk)))
            self._wait_until_pending(_ROOMS - 1)
        else:
            self.finish()
            self._write(chunk)

    def finish(self) -> None:
        """Wait until everything is written."""
        self._wait_until_pending(0)

    def close(self) -> None:
        """Finish, and end the thread."""
        try:
            self.finish()
        finally:
            self._thread.join()

    def _wait_until_pending(self, count: int) -> None:
        while len(self._pending) > count:
            self._pending.popleft()()
