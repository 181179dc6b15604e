"""The dumped process: its threads and mapped files, and its Python stacks without values."""

import os
import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Final, Literal, TypeVar

import attrs

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.os_thread import get_ident, get_native_id

__all__ = [
    "MAX_FRAMES",
    "MappedFile",
    "ObservedProcess",
    "PythonFrame",
    "PythonThread",
    "ThreadRecord",
    "current_frames",
]

MAX_FRAMES: Final = 500
"""Frames recorded per thread, innermost first; bounds the pause under runaway recursion."""
_IMPORTED_BY: Final = (get_ident(), get_native_id())
"""Usually the main thread."""
_Fact = TypeVar("_Fact")
_MIXES_INTERPRETERS: Final = (3, 12) <= sys.version_info < (3, 14)


@attrs.frozen(kw_only=True)
class ThreadRecord:
    """One thread of the process at the instant, and how exact its registers in the core are."""

    tid: int
    name: str
    registers: Literal["exact", "partial", "missing"]
    reason: str | None = None
    """Why the registers are not exact."""


@attrs.frozen(kw_only=True)
class MappedFile:
    """A file that was mapped into the process."""

    path: str
    """Absolute, as the process sees it. The kernel's " (deleted)" stays only if the file that took
    its place is mapped too."""
    deleted: bool = False
    """Whether that path no longer leads to the mapped file: it was removed or replaced."""
    read_from: str | None = None
    """Where its bytes can be read if not at `path`: in /proc/self/map_files, for instance."""
    aliases: tuple[str, ...] | None = None
    """Other absolute paths under which the dynamic linker knows it; None if they are unknown."""
    data: tuple[tuple[int, int], ...] = ()
    """Its mappings, as (start, end), if it is mapped only as data; empty if some of it is code."""
    dontdump: bool = False
    """Whether some of `data` was marked with MADV_DONTDUMP, see madvise(2)."""


@attrs.frozen
class PythonFrame:
    """One frame, without local variables and without a reference to the frame itself."""

    file: str
    line: int | None
    function: str


@attrs.frozen(kw_only=True)
class PythonThread:
    """One thread as the interpreter sees it."""

    ident: int
    """`threading.get_ident()` of the thread; under gevent and eventlet that of the operating
    system's thread, which has the stack of the greenlet that it runs."""
    native_id: int | None
    """Its tid; None for a thread that `threading` did not start and has not seen."""
    name: str | None
    daemon: bool | None
    frames: tuple[PythonFrame, ...]
    """Innermost first."""
    truncated: bool
    """Whether there were more than `MAX_FRAMES`."""


class ObservedProcess:
    """The process during the pause. The stacks are read once, on first use."""

    def __init__(
        self, pid: int | None = None, threads: tuple[PythonThread, ...] | None = None
    ) -> None:
        self.pid = pid or os.getpid()
        self._caller = get_ident()
        self._threads = threads

    def python_threads(self) -> tuple[PythonThread, ...]:
        """Return the Python threads, beginning with the one that requested the dump.

        Excludes the thread on which a collector of another distribution observes.
        """
        if self._threads is None:
            caller, here = self._caller, get_ident()
            frames = current_frames()
            others = (ident for ident in frames if ident not in {caller, here})
            order = [caller, *others]
            known = _known_threads()
            self._threads = tuple(_thread(known.get(i), i, frames[i]) for i in order)
        return self._threads

    def python_files(self) -> tuple[str, ...]:
        """Return the file names of all frames, as in their code objects, each once."""
        frames = (frame for thread in self.python_threads() for frame in thread.frames)
        return tuple(dict.fromkeys(frame.file for frame in frames))


def _known_threads() -> dict[int, threading.Thread]:
    """Return the threads known to `threading`, by the operating system's idents.

    Under gevent and eventlet it knows threads by their greenlets, including the main thread.
    """
    # Not threading.enumerate(): its lock may be held by a thread that waits for the GIL.
    known: dict[int, threading.Thread] = dict(threading._active)  # type: ignore[attr-defined]  # noqa: SLF001
    main = threading.main_thread()
    for ident, native_id in (_IMPORTED_BY, (get_ident(), get_native_id())):
        if native_id == main.native_id:
            known[ident] = main
    return known


def _thread(thread: threading.Thread | None, ident: int, top: FrameType) -> PythonThread:
    frames, truncated = _walk(top)
    return PythonThread(
        ident=ident,
        native_id=_asked(thread, "native_id", int),
        name=_asked(thread, "name", str),
        daemon=_asked(thread, "daemon", bool),
        frames=frames,
        truncated=truncated,
    )


def _asked(thread: threading.Thread | None, name: str, kind: type[_Fact]) -> _Fact | None:
    """Return a fact of a thread, whose class may be the application's, and answer anything."""
    try:
        found = getattr(thread, name, None)
    except Exception as error:
        reraise_if_from_handler(error)
        return None
    return found if isinstance(found, kind) else None


def _walk(frame: FrameType | None) -> tuple[tuple[PythonFrame, ...], bool]:
    frames: list[PythonFrame] = []
    while frame is not None and len(frames) < MAX_FRAMES:
        code = frame.f_code
        frames.append(PythonFrame(code.co_filename, frame.f_lineno, code.co_qualname))
        frame = frame.f_back
    return tuple(frames), frame is not None


def current_frames() -> Mapping[int, FrameType]:
    """Return the innermost frame of each Python thread by its `threading.get_ident`.

    Only the calling thread's if CPython 3.12 or 3.13 runs other interpreters: their
    `sys._current_frames` includes those interpreters' threads, and allocates objects for them with
    this interpreter's allocator, which they free with their own. That aborts the process.
    """
    if _MIXES_INTERPRETERS and _other_interpreters():
        return {get_ident(): sys._getframe(1)}  # noqa: SLF001 - the caller's
    return sys._current_frames()  # noqa: SLF001 - the documented way, see its own docs


def _other_interpreters() -> bool:
    """Whether any was created through the standard library's module for them."""
    module = sys.modules.get("_interpreters") or sys.modules.get("_xxsubinterpreters")
    return module is not None and len(module.list_all()) > 1
