"""A process that tidies up after a tracer that was killed: its clone would be left as a zombie.

Nobody but the traced process can reap that, and nobody but a tracer can have it do so. The guard
sleeps until the dump is over. It loads little: one is started for each dump.
"""

import os
import select
import sys
import time
from contextlib import suppress
from typing import Final

from gencore_backends.linux import _native

__all__ = ["Guard", "main"]

_PATIENCE: Final = 20.0
"""Seconds for a clone to end, and for a moment at which the process can be stopped."""
_PAUSE: Final = 0.05
_PROGRAM: Final = "from gencore_backends.linux.ptrace_guard import main; main({}, {})"
_LEFT_OUT: Final = [b"GENCORE_ARM"]


class Guard:
    """Stands by while a process is traced by this one."""

    def __init__(self, target: int) -> None:
        """Start it. Without one, where no program can be started, a dump is made all the same."""
        self._owner = os.getpid()
        reader, self._writer = os.pipe()
        program = _PROGRAM.format(target, os.getpid())
        arguments = [sys.executable or "", "-I", "-c", program]
        started: list[int] = []
        try:
            with suppress(OSError):
                encoded = [os.fsencode(argument) for argument in arguments]
                _native.spawn((encoded, _LEFT_OUT, [], reader), started)
        finally:
            for fd in (reader, *started):
                os.close(fd)

    def dismiss(self) -> None:
        """Let it end: nothing is left to do."""
        if self._owner == os.getpid():  # and not in a forked child
            with suppress(OSError):  # it has been killed
                os.write(self._writer, b"\0")
        os.close(self._writer)


def main(target: int, requester: int) -> None:
    """Wait for the end of the dump, or of the process that makes it; then reap what is left.

    The end of the input is not enough: a process that was forked meanwhile may have its other end.
    """
    channel = sys.stdin.fileno()
    with suppress(ProcessLookupError):  # it has ended already
        ready, _, _ = select.select([channel, os.pidfd_open(requester)], [], [])
        if channel in ready and os.read(channel, 1):
            return
    end_by = time.monotonic() + _PATIENCE
    while _native.reap_left_clones(target) and time.monotonic() < end_by:
        time.sleep(_PAUSE)
