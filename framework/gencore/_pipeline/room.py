"""Whether the process has room for a dump, a thread and some descriptors: asked before the pause.

What is short is found where it costs nothing yet: after the pause it would cost the dump.
"""

import contextlib
import errno
import mmap
import os
from typing import Final

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.os_thread import STACK, NoThread, open_descriptor, try_to_start
from gencore.errors import Refused, TimedOut

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["check_room"]

_DESCRIPTORS: Final = 12
"""A dump with the built-in plug-ins has up to ten open at a time; two are for what the rest of
the process opens meanwhile."""
_THREAD_LIMIT: Final = 5.0
"""Seconds that a thread has to begin, and to end."""


def check_room(timeout: float | None) -> None:
    """Raise `Refused` where a dump would fail for want of descriptors or of any thread.

    Raises `TimedOut` where a thread takes longer than the dump may.
    """
    _check_descriptors()
    try:
        begins = try_to_start(min(_THREAD_LIMIT, timeout or _THREAD_LIMIT))
    except NoThread as error:
        if not error.at_exit:  # there, who asks for the dump makes it
            raise Refused(f"no thread for the dump: {error}", remedy=_thread_remedy()) from error
        return
    if begins:
        return
    if timeout is not None and timeout < _THREAD_LIMIT:
        raise TimedOut(timeout)
    text = "no thread for the dump: one was started and did not begin"
    raise Refused(text, remedy=_thread_remedy())


def _check_descriptors() -> None:
    if _plenty_are_free():
        return
    with contextlib.ExitStack() as taken:
        try:
            for _ in range(_DESCRIPTORS):
                taken.callback(os.close, open_descriptor(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in _REMEDIES:
                raise Refused(f"{os.devnull} cannot be opened: {error.strerror}") from error
            raise Refused(
                f"fewer than {_DESCRIPTORS} descriptors are free, which a dump may need: "
                f"{error.strerror}",
                remedy=_REMEDIES[error.errno],
            ) from error


def _plenty_are_free() -> bool:
    """Say so without opening any, which takes as many turns at the interpreter's lock.

    Linux 6.2 and later tell how many are open, see proc_pid_fd(5); where nobody does, False.
    """
    if resource is None:
        return False
    try:
        used = os.stat("/proc/self/fd").st_size  # noqa: PTH116 - no objects
    except OSError as error:
        reraise_if_from_handler(error)
        return False
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return used > 0 and (limit == resource.RLIM_INFINITY or limit - used >= _DESCRIPTORS)


_REMEDIES: Final = {
    errno.EMFILE: "raise the process's limit on open files: ulimit -n 4096",
    errno.ENFILE: "raise the machine's limit on open files, as root: sysctl fs.file-max=1000000",
}


def _thread_remedy() -> str:
    """Name what is short: memory for a stack, or else the number of threads."""
    try:
        mmap.mmap(-1, STACK).close()
    except (OSError, MemoryError):
        return "raise the limit on memory (ulimit -v, or the container's), or free some"
    return "raise the limit on processes (ulimit -u) or pids.max of the cgroup"
