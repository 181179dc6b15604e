"""Threads of gencore's own, and what they wait with: the operating system's in every process.

gevent and eventlet put greenlets, and locks that know only greenlets, where `threading` and
`_thread` have their own; `threading.Thread.start` waits for ever for a thread that died at birth
(python/cpython#140746). So nothing here comes from either, but from a copy of `_thread` that
nobody has patched, whenever the patching was done. See docs/decisions/0013.

======================  =======================================  ================================
thread                  what it is for                           where none can be started
======================  =======================================  ================================
``gencore-dump``        watches one dump: time limits, progress;  the dump is refused before the
                        runs its callbacks                       pause
``gencore-steps``       makes the calls of plug-ins; replaced     the thread that would watch it
                        where one hangs                          makes them, unwatched
``gencore-sink``        calls a sink of another distribution,     ``gencore-steps`` calls it
                        one for each
``gencore-events``      hands events to listeners: one for logs  they get all at the end
                        and spans, one for ``on_event``
``gencore-pack``        compresses a bundle's blocks: one for    the thread that packs does it
                        each CPU, four at most
``gencore-abort``       ends a backend's wait after a stop       who stops the dump does it
======================  =======================================  ================================

None of them is in a core, but where two dumps overlap, a plug-in hangs, or a third party's backend
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
    "wait_for_descriptors",
]


def _unpatched(name: str) -> Any:
    """Return a copy of a module of the interpreter as it was before anybody changed it."""
    spec: Any = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_thread: Final = _unpatched("_thread")
_select: Final = _unpatched("select")
Lock: Final[Callable[[], contextlib.AbstractContextManager[bool]]] = _thread.RLock
"""As `threading.RLock`, between threads of the operating system. Reentrant: a signal handler may
come in between."""
get_ident: Final[Callable[[], int]] = _thread.get_ident
get_native_id: Final[Callable[[], int]] = _thread.get_native_id

STACK: Final = 1 << 20
"""Bytes of stack of each thread. isal's one-shot calls need more than 96 KiB."""
_SLICE: Final = 1.0
"""Seconds between two looks of a thread that waits."""
_GLANCE: Final = 0.01
"""Seconds between two looks of a greenlet that waits."""
_SETTLED_AFTER: Final = 0.1
"""Seconds after which a thread that has ended is gone, or so late that nobody waits for it."""
_leaving: Final[deque[tuple[int, float]]] = deque(maxlen=64)
"""Threads that end, and since when. Each use is one step of the interpreter."""


class NoThread(RuntimeError):
    """No thread can be started now."""

    @property
    def at_exit(self) -> bool:
        """Whether the interpreter starts none any more, because it ends.

        Told by the text: `PythonFinalizationError` came with Python 3.13, the refusal with 3.12.
        """
        return "interpreter shutdown" in str(self)


class Latch:
    """Is opened once, for good. Waiting is like `threading.Event.wait`."""

    def __init__(self) -> None:
        self._closed = _thread.allocate_lock()
        self._closed.acquire()
        self._once = _thread.allocate_lock()
        self.is_open = False

    def open(self) -> bool:
        """Let everybody pass. Return whether nobody had done so."""
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
        """Wait in the way in which the application does: under gevent, other greenlets run on."""
        if isinstance(time.sleep, BuiltinFunctionType):
            return self.wait(timeout)
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_open and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _GLANCE))
        return self.is_open


class OsThread:
    """A thread that runs *function* once, begun by being made. Raises `NoThread`.

    Making it does not wait for it: `begun` is opened by its first step. The interpreter's end does
    not wait for it either, see `gencore._runtime.lifetime`.
    """

    def __init__(self, function: Callable[[], object], name: str | None = None) -> None:
        self.begun = Latch()
        self._function = function
        self._name = name
        self._ended = Latch()
        try:
            _start_with_own_stack(self._run)
        except (RuntimeError, MemoryError) as error:
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
    """Remove what `threading.current_thread`, which logging calls, noted of this thread.

    Before Python 3.13 it would stay for ever. Without the module's lock, which whoever waits for
    this thread may hold.
    """
    threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]  # noqa: SLF001


def leave() -> None:
    """Note that this thread is about to end."""
    _leaving.append((get_native_id(), time.monotonic()))


def settle() -> None:
    """Wait until threads that have ended are gone for the kernel too: no core is to have them."""
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
    """Not os.path.exists, which takes the TimeoutError of a signal handler for the answer."""
    try:
        os.stat(path)  # noqa: PTH116 - no objects
    except FileNotFoundError:
        return False
    return True


def try_to_start(limit: float) -> bool:
    """Start a thread that ends at once. Return whether it has, within *limit* seconds.

    Raises `NoThread`.
    """
    return OsThread(lambda: None).join(limit)


def wait_for_descriptors(wanted: Mapping[int, int], timeout: float | None) -> dict[int, int]:
    """Wait *timeout* seconds, or for ever, for one of the wanted events of poll(2) by descriptor.

    Returns the events that came, by descriptor; none after the timeout.

    It blocks this thread. gevent's poll would make an event loop for each thread, with descriptors
    that stay open; eventlet's `select` has none.
    """
    poll = _select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(None if timeout is None else timeout * 1000))


open_descriptor: Final[Callable[..., int]] = importlib.import_module(os.name).open
"""os.open, as it is without eventlet, whose own makes an event loop for each thread."""


def lock_that_no_child_inherits() -> Any:
    """Return a lock that is free in a process that the application forks."""
    lock: Any = Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # noqa: SLF001 - as threading does
    return lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leaving.clear)
