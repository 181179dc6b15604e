"""Threads of gencore's own, and their locks: the operating system's, even under gevent.

gevent and eventlet replace `threading` and `_thread` by greenlets, and by locks that know only
greenlets; `threading.Thread.start` waits forever for a thread that died while it was starting
(python/cpython#140746). So everything here comes from an unpatched copy of `_thread`, no matter
when the patching was done. See docs/decisions/0013.

======================  =======================================  ================================
thread                  purpose                                  if none can be started
======================  =======================================  ================================
``gencore-dump``        watches one dump: time limits, progress;  the dump is refused before the
                        runs its callbacks                       pause
``gencore-steps``       calls plug-ins; replaced if a call        the thread that would watch it
                        hangs                                    calls them, unwatched
``gencore-sink``        calls a sink of another distribution,     ``gencore-steps`` calls it
                        one for each
``gencore-events``      delivers events to listeners: one for    they get all at the end
                        logs and spans, one for ``on_event``
``gencore-pack``        hashes and compresses a bundle's blocks:  the thread that packs does it
                        one for each CPU, four at most
``gencore-write``       writes the blocks of a bundle, in order   the thread that packs does it
``gencore-hash``        hashes what ``raw`` writes meanwhile     the thread that writes does it
``gencore-ahead``       decompresses the next block of a bundle   the thread that reads it does
                        that is read to its end, finds the next
                        objects of a core that are counted
``gencore-abort``       ends a backend's wait after a stop       the thread that stops it does
======================  =======================================  ================================

None of them is in a core, unless two dumps overlap, a plug-in hangs, or a third party's backend
takes the image: on ``gencore-steps``. None is known to `threading`.
"""

import contextlib
import importlib
import importlib.util
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import chain
from types import BuiltinFunctionType
from typing import Any, Final

__all__ = [
    "STACK",
    "Latch",
    "Lock",
    "NoThread",
    "OsThread",
    "get_ident",
    "get_native_id",
    "leave",
    "lock_that_no_child_inherits",
    "open_descriptor",
    "settle",
    "try_to_start",
    "wait_for_all",
    "wait_for_descriptors",
]


def _unpatched(name: str) -> Any:
    """Return a fresh, unpatched copy of a built-in module."""
    spec: Any = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_thread: Final = _unpatched("_thread")
_select: Final = _unpatched("select")
Lock: Final[Callable[[], contextlib.AbstractContextManager[bool]]] = _thread.RLock
"""Like `threading.RLock`, between threads of the operating system. Reentrant, because a signal
handler may interrupt its owner."""
get_ident: Final[Callable[[], int]] = _thread.get_ident
get_native_id: Final[Callable[[], int]] = _thread.get_native_id

STACK: Final = 1 << 20
"""Bytes of stack of each thread. isal's one-shot calls need more than 96 KiB."""
_SLICE: Final = 1.0
"""Seconds between two checks of a waiting thread."""
_GLANCE: Final = 0.01
"""Seconds between two checks of a waiting greenlet."""
_SETTLED_AFTER: Final = 0.1
"""Seconds after which a thread that has ended is gone, or no longer waited for."""
_alive: "Final[set[OsThread]]" = set()
"""Threads of ours that have not ended. Each use is one step of the interpreter."""
_leaving: Final[deque[tuple[int, float]]] = deque(maxlen=64)
"""Ending threads, and since when. Each use is one step of the interpreter."""


class NoThread(RuntimeError):
    """No thread can be started now."""

    @property
    def at_exit(self) -> bool:
        """Whether the interpreter starts no more threads because it is shutting down.

        Recognized by the text: Python 3.12 refuses, but `PythonFinalizationError` is new in 3.13.
        """
        return "interpreter shutdown" in str(self)


class Latch:
    """Opens once and stays open. Waiting is like `threading.Event.wait`."""

    def __init__(self) -> None:
        self._closed = _thread.allocate_lock()
        self._closed.acquire()
        self._once = _thread.allocate_lock()
        self.is_open = False

    def open(self) -> bool:
        """Release all waiting threads. Return whether it was closed until now."""
        first: bool = self._once.acquire(blocking=False)
        if first:
            self.is_open = True
            self._closed.release()
        return first

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until it is open, *timeout* seconds at most. Return whether it is."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_open and (left := end - time.monotonic()) > 0:
            # In slices: Ctrl-C between the two would keep all others waiting.
            if self._closed.acquire(timeout=min(left, _SLICE)):
                self._closed.release()
        return self.is_open

    def wait_as_application(self, timeout: float | None = None) -> bool:
        """Wait the way the application does: under gevent, other greenlets keep running."""
        if isinstance(time.sleep, BuiltinFunctionType):
            return self.wait(timeout)
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_open and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _GLANCE))
        return self.is_open


class OsThread:
    """A thread that runs *function* once, started by the constructor. Raises `NoThread`.

    The constructor does not wait for it: its first step opens `begun`. The interpreter's exit does
    not wait for it either, see `gencore._runtime.lifetime`.
    """

    def __init__(self, function: Callable[[], object], name: str | None = None) -> None:
        self.begun = Latch()
        self._function = function
        self._name = name
        self._ended = Latch()
        _alive.add(self)
        try:
            _start_with_own_stack(self._run)
        except (RuntimeError, MemoryError) as error:
            _alive.discard(self)
            raise NoThread(str(error) or "no memory for a thread") from error

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end, *timeout* seconds at most. Return whether it has ended."""
        return self._ended.wait(timeout)

    def _run(self) -> None:
        self.begun.open()
        try:
            if self._name is not None:
                _name_for_the_kernel(self._name)
            self._function()
        finally:
            _forget_for_threading()
            leave()
            _alive.discard(self)
            self._ended.open()


def _start_with_own_stack(function: Callable[[], object]) -> None:
    """Start a thread with a stack of `STACK` bytes.

    The size is one of the whole process. It is set, used and put back by a single call of C code
    (`deque`), so that no thread that the application starts gets it.
    """
    before: list[int] = []
    try:
        deque(
            chain(
                map(before.append, map(_thread.stack_size, (STACK,))),
                map(_thread.start_new_thread, (function,), ((),)),
                map(_thread.stack_size, before),
            ),
            maxlen=0,
        )
    except BaseException:
        for size in before:
            _thread.stack_size(size)
        raise


def _name_for_the_kernel(name: str) -> None:
    """Set the name that ps, top and a core show, see proc_pid_comm(5); elsewhere nothing."""
    with contextlib.suppress(OSError), open("/proc/thread-self/comm", "wb", 0) as comm:  # noqa: PTH123
        comm.write(name.encode())


def _forget_for_threading() -> None:
    """Remove the entry that `threading.current_thread`, called by logging, made for this thread.

    Before Python 3.13 it would stay forever. Without the module's lock, which may be held by a
    thread that waits for this one.
    """
    threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]  # noqa: SLF001


def leave() -> None:
    """Note that this thread is about to end."""
    _leaving.append((get_native_id(), time.monotonic()))


def settle() -> None:
    """Wait until ended threads are gone for the kernel too, so that no core contains them."""
    while _leaving:
        try:
            tid, since = _leaving.popleft()
        except IndexError:  # another thread was faster
            return
        until = since + _SETTLED_AFTER
        path = f"/proc/self/task/{tid}"
        while time.monotonic() < until and tid != get_native_id() and _is_there(path):
            Latch().wait(0.0005)


def _is_there(path: str) -> bool:
    """Unlike os.path.exists, do not take the TimeoutError of a signal handler for the answer."""
    try:
        os.stat(path)  # noqa: PTH116 - no objects
    except FileNotFoundError:
        return False
    return True


def wait_for_all(timeout: float) -> None:
    """Wait until no thread of ours is left, *timeout* seconds at most.

    Those that end a backend's wait, or were left behind in a call, are not waited for otherwise.
    """
    until = time.monotonic() + timeout
    for thread in _alive.copy():
        thread.join(until - time.monotonic())


def try_to_start(limit: float) -> bool:
    """Start a thread that ends at once. Return whether it has, within *limit* seconds.

    Raises `NoThread`.
    """
    return OsThread(lambda: None).join(limit)


def wait_for_descriptors(wanted: Mapping[int, int], timeout: float | None) -> dict[int, int]:
    """Wait *timeout* seconds, or indefinitely, for one of the *wanted* poll(2) events.

    *wanted* has events by descriptor. Returns those that occurred, by descriptor; none after the
    timeout.

    It blocks this thread. gevent's poll would make an event loop for each thread, with descriptors
    that stay open; eventlet's `select` has no poll.
    """
    poll = _select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(None if timeout is None else timeout * 1000))


open_descriptor: Final[Callable[..., int]] = importlib.import_module(os.name).open
"""os.open, unpatched: eventlet's makes an event loop for each thread."""


def lock_that_no_child_inherits() -> Any:
    """Return a lock that is free in a process that the application forks."""
    lock: Any = Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # noqa: SLF001 - as threading does
    return lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leaving.clear)
    os.register_at_fork(after_in_child=_alive.clear)
