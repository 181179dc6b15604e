"""A core stream whose size is what the core's own program headers promise."""

import io
from collections.abc import Iterator

from gencore.core_stream import CoreStream
from gencore.errors import IntegrityError

__all__ = ["CheckedCore"]


class CheckedCore(CoreStream):
    """The stream of a third party's backend, which may be wrong about its size.

    `begin` takes the first chunk, so that the size is right before anybody asks for it.
    """

    def __init__(self, core: CoreStream) -> None:
        self._core = core
        self._size = self._stated = 0
        self._first: memoryview | None = None
        self._chunks: Iterator[memoryview] = iter(())
        self.correction: str | None = None
        """What was wrong about the size; None if it was right, or the core does not say."""

    @property
    def size(self) -> int:
        """Bytes that the core's program headers promise, if its first chunk has them."""
        return self._size

    def begin(self) -> None:
        """Take the first chunk. Raises what the backend raises."""
        self.file = self._core.file
        self._size = self._stated = self._core.size
        self._chunks = iter(self._core)
        self._first = next(self._chunks, None)
        promised = None if self._first is None else _promised_size(bytes(self._first))
        if promised is not None and promised != self._size:
            self.correction = (
                f"states a core of {self._size!r} bytes, but its headers promise {promised:,}"
            )
            self._size = promised

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the chunks, from the first."""
        if self._first is not None:
            yield self._first
            yield from self._chunks

    def wait(self) -> None:
        """Wait for the backend, and repeat what it then says."""
        self.close()
        self._core.wait()
        self.incomplete = self._core.incomplete
        self.missing = self._core.missing
        self.warnings = self._core.warnings
        if self.correction is not None and self.incomplete is not None:
            # It knows that bytes are missing, but has counted them from another end.
            self.missing += max(0, self._size - self._stated)

    def close(self) -> None:
        """Let the iterator release what it holds."""
        close = getattr(self._chunks, "close", lambda: None)
        close()


def _promised_size(beginning: bytes) -> int | None:
    """Return the size of the ELF core that begins so; None if that does not say."""
    from gencore.corefile import CoreFile  # only third parties need it: it is slow to load

    try:
        with CoreFile(io.BytesIO(beginning)) as core:
            return core.promised_size
    except IntegrityError:
        return None
