"""The recorder as a process: what arrives from it, its end, and killing it."""

import select
import signal
import time
from collections import deque
from contextlib import suppress

import attrs

from gencore._recorder.channel import Channel, Message, decode
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.os_thread import wait_for_descriptors as wait
from gencore._runtime.platform_agent import agent

__all__ = ["RecorderProcess"]


@attrs.define(eq=False)
class RecorderProcess:
    """A running recorder, or one that a clone starts."""

    channel: Channel
    pidfd: int
    """-1 until the clone has said that it is started, or if no descriptor was free for it then."""
    is_started: bool = attrs.field(init=False)
    """Whether the clone has said that, if it starts it."""
    _arrived: deque[tuple[bytes, tuple[int, ...]]] = attrs.field(factory=deque, init=False)

    @is_started.default
    def _has_pidfd(self) -> bool:
        return self.pidfd >= 0

    def receive(self, timeout: float) -> Message | None:
        """Wait for a message, so many seconds; None if it has died. Raises `TimeoutError`."""
        try:
            message = self._next(timeout)
            if message is not None and message.kind == "started":
                self._note_start(message)
                message = self._next(timeout)
        except TimeoutError:
            raise
        except OSError as error:
            reraise_if_from_handler(error)
            return None
        return message

    def _note_start(self, message: Message) -> None:
        """Without its pidfd, its end shows in its channel only."""
        self.is_started = True
        if message.descriptors:
            (self.pidfd,) = message.descriptors

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, whatever it says until then. Return whether it has ended."""
        end = time.monotonic() + seconds
        with suppress(TimeoutError):
            while self.receive(max(0, end - time.monotonic())) is not None:
                pass
            return True
        return False

    def _next(self, timeout: float) -> Message | None:
        if not self._arrived:
            self._arrived.extend(self._wait_for_packets(timeout))
        return decode(*self._arrived.popleft()) if self._arrived else None

    def _wait_for_packets(self, timeout: float) -> list[tuple[bytes, tuple[int, ...]]]:
        """Return all that have arrived; none if it has died. Raises OSError."""
        fd = self.channel.fileno()
        wanted = {fd: select.POLLIN, self.pidfd: select.POLLIN}
        wanted.pop(-1, None)
        if not wait(wanted, timeout):
            raise TimeoutError
        return agent().take_packets(fd)  # which it may have sent after the look at fd

    def kill(self) -> None:
        """End it. What it leaves behind is removed by the next dump."""
        with suppress(OSError):  # it has ended, or is not started
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def let_go(self) -> None:
        """Close what leads to it; reap it if it is a child.

        It is one of a subreaper, or of the first process of a container.
        """
        agent().let_go(self.channel.detach(), self.pidfd)
