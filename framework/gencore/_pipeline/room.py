"""Checks before the pause that the process can get what a dump needs: a thread and descriptors.

A shortage is harmless if it is found here; after the pause it would cost the dump.
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
"""Seconds within which a thread must begin and end."""


def check_room(timeout: float | None) -> None:
    """Raise `Refused` if a dump would fail for lack of descriptors or of a thread.

    Raises `TimedOut` if starting a thread takes longer than the dump may.
    """
    _check_descriptors()
    try:
        begins = try_to_start(min(_THREAD_LIMIT, timeout or _THREAD_LIMIT))
    except NoThread as error:
        if not error.at_exit:  # there, who asks for the dump makes it
            text = f"cannot start a thread for the dump: {error}"
            raise Refused(text, remedy=_thread_remedy()) from error
        return
    if begins:
        return
    if timeout is not None and timeout < _THREAD_LIMIT:
        raise TimedOut(timeout)
    text = "cannot start a thread for the dump: it was created but did not begin"
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
                f"a dump may need {_DESCRIPTORS} descriptors, and fewer are free: "
                f"{error.strerror}",
                remedy=_REMEDIES[error.errno],
            ) from error


def _plenty_are_free() -> bool:
    """Answer without opening any: each open may have to wait for the GIL.

    Linux 6.2 and later report how many are open, see proc_pid_fd(5); False if it is unknown.
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
    """Return the remedy for what is short: memory for a stack, or else the number of threads."""
    try:
        mmap.mmap(-1, STACK).close()
    except (OSError, MemoryError):
        return "raise the limit on memory (ulimit -v, or the container's), or free some"
    return "raise the limit on processes (ulimit -u) or pids.max of the cgroup"
