"""A file of known size, whose `seek` only notes where the next read begins."""

import io

__all__ = ["LazySeeking"]


class LazySeeking(io.BufferedIOBase):
    """What members of a bundle share: a seek costs nothing until the next read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._wanted = 0
        """Where the next read begins."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._wanted

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Note where to read next; whether that can be read, the next read finds out."""
        offset += {io.SEEK_SET: 0, io.SEEK_CUR: self._wanted, io.SEEK_END: self.size}[whence]
        self._wanted = max(0, min(offset, self.size))
        return self._wanted
