"""Hashes chunks on another thread while they are written.

Small ones are hashed at once: handing them over would take longer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from gencore._runtime.other_thread import WORTH_HANDING_OVER, OtherThread

__all__ = ["HashBeside"]


class HashBeside:
    """Updates one *digest*, in order."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._thread = OtherThread("gencore-hash")
        self._finish: Callable[[], object] = lambda: None

    @contextmanager
    def hashing(self, chunk: memoryview) -> Iterator[None]:
        """Hash *chunk* meanwhile; `bytes`, which nobody changes, until the next one is hashed."""
        self.finish()
        if chunk.nbytes < WORTH_HANDING_OVER:
            self._digest.update(chunk)
            yield
            return
        self._finish = self._thread.begin(partial(self._digest.update, chunk))
        try:
            yield
        finally:
            if not isinstance(chunk.obj, bytes):
                self.finish()

    def finish(self) -> None:
        """Wait until everything is hashed."""
        finish, self._finish = self._finish, lambda: None
        finish()

    def close(self) -> None:
        """Finish, and end the thread."""
        self.finish()
        self._thread.join()
