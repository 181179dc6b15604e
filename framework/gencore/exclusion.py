"""Keeps memory out of every dump: keys, passwords, anything that a caller marks."""

from contextlib import AbstractContextManager
from typing import Final, Self

from gencore._runtime import standing
from gencore.errors import UsageError

__all__ = ["Exclusion", "exclude"]

_ADDRESSES: Final = frozenset("&OPXZz")
"""Formats of PEP 3118 and ctypes for pointers to data, objects, functions and strings."""


class Exclusion(AbstractContextManager["Exclusion"]):
    """Keeps one buffer out of every dump until it is released. Returned by `exclude`."""

    def __init__(self, start: int, size: int, pinned: object) -> None:
        self.start = start
        self.end = start + size
        self._pinned: object = pinned
        standing.exclusions.add(self)
        standing.tell_follower()

    def release(self) -> None:
        """Allow the memory to be dumped, resized and freed again. May be called twice."""
        standing.exclusions.discard(self)
        standing.tell_follower()
        self._pinned = None

    def __exit__(self, *_: object) -> None:
        """Release the memory."""
        self.release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self


def exclude(buffer: object) -> Exclusion:
    """Keep the bytes of a writable *buffer* out of every dump, which has zeros in their place.

    Supported are a bytearray, an array, a ctypes object, an mmap (anonymous, of a file, of a
    memfd), an array or value of multiprocessing, the ``buf`` of a SharedMemory, and slices of
    these; not ``bytes`` and ``str``, which the interpreter may have copied. A file behind an mmap
    is unchanged on disk, and no bundle contains it. The buffer is pinned: it cannot be resized or
    closed until the exclusion is released. A forked process inherits the exclusions. Copies of
    the secret elsewhere in memory are not found.

    May be called from any thread. Raises `UsageError` if *buffer* is not writable, not
    C-contiguous, or holds pointers instead of data.
    """
    import ctypes

    if hasattr(buffer, "get_obj"):  # multiprocessing wraps what has the memory
        buffer = buffer.get_obj()
    try:
        with memoryview(buffer) as view:  # type: ignore[arg-type]  # refused below
            size = _size_of(view)
        pinned = (ctypes.c_char * size).from_buffer(buffer)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError) as error:
        raise UsageError(
            f"exclude() cannot use this {type(buffer).__name__}: {error}",
            remedy="keep the secret in a bytearray; for a SharedMemory pass its buf; map a file "
            "writable",
        ) from error
    return Exclusion(ctypes.addressof(pinned), size, pinned)


def _size_of(view: memoryview) -> int:
    """Return the bytes of a buffer. Raises `TypeError` for one whose memory is not all of it."""
    if not view.c_contiguous:
        raise TypeError("it is not C-contiguous")
    if view.format.lstrip("@=<>!")[:1] in _ADDRESSES:
        raise TypeError("its items are pointers, and the data they point to is not part of it")
    return view.nbytes
