"""Opens regular files for reading, and nothing else."""

import io
import os
import stat

from gencore._runtime.os_thread import open_descriptor

__all__ = ["open_regular"]


def open_regular(path: str, *, flags: int = 0, dir_fd: int | None = None) -> io.FileIO:
    """Open a file without blocking on a FIFO or device; *flags* are those of open(2).

    Raises OSError, with no descriptor left open.
    """
    flags |= os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    fd = open_descriptor(path, flags, dir_fd=dir_fd)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return io.FileIO(fd, "rb")
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    raise OSError(f"{path}: not a regular file")
