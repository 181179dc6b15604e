"""Whether the process has room for a dump: a thread and some descriptors, looked for before the pause.

What is short is found where it costs nothing yet: after the pause it would cost the dump.
"""

import contextlib
import errno
import mmap
import os
from typing import Final

from gencore._lifetime import is_ending
from gencore._os_thread import STACK, NoThread, try_to_start
from gencore.errors import Refused

__all__ = ["check_room"]

_DESCRIPTORS: Final = 9
"""That a dump with the built-in plug-ins has open at a time, at most."""
_THREAD_LIMIT: Final = 5.0
"""Seconds that a thread has to begin, and to end."""


def check_room(timeout: float | None) -> None:
    """Raise `Refused` where a dump would fail for want of descriptors or of any thread."""
    _check_descriptors()
    try:
        try_to_start(min(_THREAD_LIMIT, timeout or _THREAD_LIMIT))
    except NoThread as error:
        if not is_ending():  # there, who asks for the dump makes it
            raise Refused(f"no thread for the dump: {error}", remedy=_thread_remedy()) from error


def _check_descriptors() -> None:
    with contextlib.ExitStack() as taken:
        try:
            for _ in range(_DESCRIPTORS):
                taken.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in _REMEDIES:
                raise Refused(f"{os.devnull} cannot be opened: {error.strerror}") from error
            raise Refused(
                f"fewer than {_DESCRIPTORS} descriptors are free, which a dump may need: "
                f"{error.strerror}",
                remedy=_REMEDIES[error.errno],
            ) from error


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
