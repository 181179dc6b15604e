"""The recorder's end of a dump's instant: it says that it is ready, and gets what was captured."""

import os
import select
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import attrs

from gencore._recorder.channel import Channel
from gencore._runtime.os_thread import wait_for_descriptors
from gencore.errors import TargetUnavailable
from gencore.request import DumpRequest

__all__ = ["TargetHandover", "lifeline_of", "wish_of"]

_WISHED: Final = ("threads", "content", "with_dontdump", "allow_undumpable", "sources")


def wish_of(request: DumpRequest) -> dict[str, Any]:
    """Return what the target must know of a request; arguments of another `DumpRequest`."""
    return {name: getattr(request, name) for name in _WISHED}


def lifeline_of(pid: int) -> dict[int, int]:
    """Return what to wait for, to see a process end: nothing where a filter refuses pidfd_open(2).

    Raises `ProcessLookupError` if it has ended.
    """
    try:
        return {os.pidfd_open(pid): select.POLLIN}
    except ProcessLookupError:
        raise
    except OSError:
        return {}


@attrs.frozen(kw_only=True)
class TargetHandover:
    """One dump of the process that has started this one."""

    channel: Channel
    pid: int
    name: str
    id: str
    created_at: datetime
    trace: tuple[str, str] | None

    def take(self, request: DumpRequest, backend: str) -> tuple[Mapping[str, Any], dict[str, int]]:
        """Let the target be captured, if it is not yet.

        Returns what the target says of the capture, and descriptors by name, which are the
        caller's to close. Raises `TargetUnavailable`.
        """
        ready = {"backend": backend, "wish": wish_of(request)}
        try:
            with suppress(BrokenPipeError):  # it has not waited, and may have ended since
                self.channel.send("ready", ready)
            message = self._receive()
        except OSError as error:
            raise self._gone() from error
        if message is None or message.kind != "captured":
            raise self._gone()
        names = message.value["descriptors"]
        return message.value, dict(zip(names, message.descriptors, strict=True))

    def _receive(self) -> Any:
        """Wait for a message; None if the target ends without one.

        It may have ended long since, and have sent it before. Forked children may hold its end.
        """
        arrived = {self.channel.fileno(): select.POLLIN}
        with suppress(ProcessLookupError):
            lifeline = lifeline_of(self.pid)
            try:
                wait_for_descriptors({**arrived, **lifeline}, None)
            finally:
                for pidfd in lifeline:
                    os.close(pidfd)
        return self.channel.receive() if wait_for_descriptors(arrived, 0) else None

    def _gone(self) -> TargetUnavailable:
        return TargetUnavailable(f"process {self.pid} ended, or gave up, before it was captured")
