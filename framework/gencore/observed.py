"""What only the live process knows: the Python stacks of its threads, without values."""

import os
import threading
from types import FrameType
from typing import Final

import attrs

from gencore._runtime.os_thread import get_ident, get_native_id
from gencore.python_frames import current_frames

__all__ = ["MAX_FRAMES", "ObservedProcess", "PythonFrame", "PythonThread"]

MAX_FRAMES: Final = 500
"""Frames noted of one thread, innermost first; bounds the pause under runaway recursion."""
_IMPORTED_BY: Final = (get_ident(), get_native_id())
"""Usually the main thread."""


@attrs.frozen
class PythonFrame:
    """One frame. Never holds local variables, and no reference to the frame itself."""

    file: str
    line: int | None
    function: str


@attrs.frozen(kw_only=True)
class PythonThread:
    """One thread as the interpreter knows it."""

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
    """The process during the pause. The stacks are read once, for whoever asks first."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._caller = get_ident()
        self._threads: tuple[PythonThread, ...] | None = None

    def python_threads(self) -> tuple[PythonThread, ...]:
        """Return the Python threads, the one that asked for the dump first.

        Without the thread on which a collector of another distribution observes.
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
        """Return the name of each file on a stack as its code has it, each once."""
        frames = (frame for thread in self.python_threads() for frame in thread.frames)
        return tuple(dict.fromkeys(frame.file for frame in frames))


def _known_threads() -> dict[int, threading.Thread]:
    """Return what `threading` knows, by the operating system's idents.

    Under gevent and eventlet it knows threads by their greenlets, the main thread too.
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
        native_id=thread.native_id if thread else None,
        name=thread.name if thread else None,
        daemon=thread.daemon if thread else None,
        frames=frames,
        truncated=truncated,
    )


def _walk(frame: FrameType | None) -> tuple[tuple[PythonFrame, ...], bool]:
    frames: list[PythonFrame] = []
    while frame is not None and len(frames) < MAX_FRAMES:
        code = frame.f_code
        frames.append(PythonFrame(code.co_filename, frame.f_lineno, code.co_qualname))
        frame = frame.f_back
    return tuple(frames), frame is not None
