"""Hashes chunks on another thread, while they are written and the next one is read.

Small ones are hashed at once: handing them over would take longer.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, Final

from gencore._runtime.other_thread import WORTH_HANDING_OVER, OtherThread

__all__ = ["HashBeside"]

_ROOM: Final = 1 << 20
"""Bytes that may be put at once: those of a chunk of a core."""


class HashBeside:
    """Updates one *digest*, in order."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._thread = OtherThread("gencore-hash")
        self._finish: Callable[[], object] = lambda: None

    @cached_property
    def _rooms(self) -> deque[memoryview]:
        return deque(memoryview(bytearray(_ROOM)) for _ in range(2))

    def room(self) -> memoryview:
        """Return where the next chunk may be put: it is hashed while the one after it is put."""
        return self._rooms[0]

    @contextmanager
    def hashing(self, chunk: memoryview) -> Iterator[None]:
        """Hash *chunk* meanwhile; if nobody will change it, until the next one is hashed.

        Nobody changes `bytes`, nor what is where it may be put.
        """
        self.finish()
        if chunk.nbytes < WORTH_HANDING_OVER:
            self._digest.update(chunk)
            yield
            return
        self._finish = self._thread.begin(partial(self._digest.update, chunk))
        try:
            yield
        finally:
            if "_rooms" in vars(self) and chunk.obj is self._rooms[0].obj:
                self._rooms.rotate()
            elif not isinstance(chunk.obj, bytes):
                self.finish()

    def finish(self) -> None:
        """Wait until everything is hashed."""
        finish, self._finish = self._finish, lambda: None
        finish()

    def close(self) -> None:
        """Finish, and end the thread."""
        self.finish()
        self._thread.join()
