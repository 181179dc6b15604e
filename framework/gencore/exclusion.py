"""Memory that no dump may show: keys, passwords, whatever a caller marks."""

from contextlib import AbstractContextManager
from typing import Final, Self

from gencore.errors import UsageError

__all__ = ["Exclusion", "exclude", "excluded_ranges"]

_exclusions: Final[set["Exclusion"]] = set()
"""Without a lock: it is read inside the pause, which may be asked for by a signal handler. Adding,
discarding and copying are each one step of the interpreter."""


class Exclusion(AbstractContextManager["Exclusion"]):
    """Holds one buffer out of every dump until it is released. Made by `exclude`."""

    def __init__(self, start: int, size: int, pinned: object) -> None:
        self.start = start
        self.end = start + size
        self._pinned: object = pinned
        _exclusions.add(self)

    def release(self) -> None:
        """Let the memory be dumped again, and be resized or freed. May be called twice."""
        _exclusions.discard(self)
        self._pinned = None

    def __exit__(self, *_: object) -> None:
        """Release the memory."""
        self.release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self


def exclude(buffer: object) -> Exclusion:
    """Keep the bytes of a writable *buffer* out of every dump: they are zeros there.

    A bytearray, an mmap, a ctypes object, an array; not ``bytes`` or ``str``, of which the
    interpreter may have made copies. The buffer cannot be resized until the exclusion is
    released. Copies of the secret elsewhere in memory are not found.

    Raises `UsageError` if *buffer* is not writable or not in one piece.
    """
    import ctypes

    try:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # refused below
        pinned = (ctypes.c_char * len(view)).from_buffer(view)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"exclude() cannot use this {type(buffer).__name__}: {error}",
            remedy="keep the secret in a bytearray",
        ) from error
    return Exclusion(ctypes.addressof(pinned), len(view), pinned)


def excluded_ranges() -> tuple[tuple[int, int], ...]:
    """Return (start, end) of all that is excluded now, in order of address."""
    ranges = ((e.start, e.end) for e in _exclusions.copy())
    return tuple(sorted((start, end) for start, end in ranges if end > start))
