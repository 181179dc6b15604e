"""Hashes a member, if that is wanted, while a reader reads it from the stream."""

import hashlib
from collections.abc import Callable
from typing import Final

from gencore.bundle.contents import Member
from gencore.bundle.seeking import LazySeeking
from gencore.bundle.stream import Stream

__all__ = ["AlreadyPassed", "StreamedMember"]

_KEPT: Final = 1 << 20
"""Bytes at the beginning that can be read again: a core's headers."""


class AlreadyPassed(Exception):
    """The requested bytes have already been read from the stream."""


class StreamedMember(LazySeeking):
    """The bytes of a member at the stream's place, each hashed once, whether read or not."""

    def __init__(
        self,
        stream: Stream,
        member: Member,
        progress: Callable[[int], object],
        *,
        hashed: bool = True,
    ) -> None:
        super().__init__(member.size)
        self.missed = False
        """Whether `AlreadyPassed` was raised: a reader may have reported that as damage."""
        self._stream = stream
        self._progress = progress
        self._digest = hashlib.sha256() if hashed and member.leaves is None else None
        self._beginning = bytearray()
        self._position = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read *size* bytes, or to the end. Raises `AlreadyPassed` and `IntegrityError`."""
        end = self.size if size is None or size < 0 else min(self.size, self._wanted + size)
        if self._wanted >= self._position:
            self._pass(self._wanted)
            data = self._take(end)
        elif end <= len(self._beginning):
            data = bytes(self._beginning[self._wanted : end])
        elif self._position == len(self._beginning):
            data = bytes(self._beginning[self._wanted :]) + self._take(end)
        else:
            self.missed = True
            raise AlreadyPassed
        self._wanted = end
        return data

    def skip(self) -> None:
        """Read the rest."""
        self._pass(self.size)

    def hash(self) -> str | None:
        """Read the rest; return the SHA-256 of the whole, hexadecimal.

        None if the stream has compared the hash of each block, or if none was wanted.
        """
        self.skip()
        return None if self._digest is None else self._digest.hexdigest()

    def _take(self, end: int) -> bytes:
        pieces = []
        while self._position < end:
            pieces.append(self._next(end))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pass(self, end: int) -> None:
        while self._position < end:
            self._next(end)

    def _next(self, end: int) -> bytes:
        data = self._stream.read_some(end - self._position)
        if self._digest is not None:
            self._digest.update(data)
        self._beginning += data[: max(0, _KEPT - self._position)]
        self._position += len(data)
        self._progress(len(data))
        return data
