"""The process that is dumped: this one, or another one of this machine."""

import errno
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from gencore.errors import UsageError

if TYPE_CHECKING:
    from gencore.process import PythonThread
    from gencore.request import DumpRequest

__all__ = ["ArmedProcess", "Handover", "HiddenProcess", "ProcessFacts", "Target"]


def _check_pid(_: object, __: object, value: Any) -> None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (is_number and value > 0):
        raise UsageError(f"target={value!r} is not a process ID")


@attrs.frozen
class Target:
    """The process that a dump is of. Raises `UsageError`."""

    other: int | None = attrs.field(default=None, validator=_check_pid)
    """Its process ID, as this process sees it; None: this process, whatever forks.

    Where `hidden` is set, as the process itself sees it: here it means another one, or none."""
    handover: "Handover | None" = attrs.field(default=None, eq=False, repr=False)
    """How the capture is got if it is that process which has started this one, as its recorder."""
    hidden: "HiddenProcess | None" = attrs.field(
        default=None, eq=lambda hidden: hidden and hidden.name, repr=False
    )
    """What is known of it if /proc does not show it here: it is in another PID namespace."""

    @property
    def pid(self) -> int:
        """Its process ID."""
        return os.getpid() if self.other is None else self.other

    def proc(self, name: str) -> str:
        """Return where one of its files in /proc is, see proc in section 5 of the manual.

        Of this process those of the calling thread: /proc/self has no memory and no files once the
        main thread has ended. Of a hidden process there are few, and the others cannot be opened.
        """
        return self._proc(name, "thread-self")

    def process_file(self, name: str) -> str:
        """Return the same, but of this process what belongs to it, and not to its threads."""
        return self._proc(name, "self")

    def _proc(self, name: str, own: str) -> str:
        if self.hidden is not None:
            return self.hidden.file(name)
        return f"/proc/{self.other or own}/{name}"

    @property
    def visible(self) -> int | None:
        """Its process ID, for system calls; None: this process. Raises `ProcessLookupError`.

        The ID of a hidden process may be taken here, by another one.
        """
        if self.hidden is not None:
            raise ProcessLookupError(errno.ESRCH, f"process {self.pid} is not visible here")
        return self.other

    @property
    def environ(self) -> Mapping[str, str]:
        """Its environment; of another process as it began, and empty where it may not be read."""
        if self.other is None or self.handover is not None:  # a recorder inherits it
            return os.environ
        try:
            rows = os.fsdecode(Path(self.proc("environ")).read_bytes()).split("\0")
        except OSError:
            return {}
        return dict(row.split("=", 1) for row in rows if "=" in row)


class HiddenProcess(Protocol):
    """A process of another PID namespace, of which only its agent is within reach."""

    @property
    def name(self) -> str:
        """That of its agent, which no other has."""

    def file(self, name: str) -> str:
        """Return where a file of the process in /proc can be read, if at all."""


class Handover(Protocol):
    """What a process that wants to be dumped and its recorder do together."""

    @property
    def name(self) -> str:
        """The dump's name."""

    @property
    def id(self) -> str:
        """Its UUID."""

    @property
    def created_at(self) -> datetime:
        """When it was asked for, UTC."""

    @property
    def trace(self) -> tuple[str, str] | None:
        """Trace ID and span ID that it belongs to, in hexadecimal."""

    def take(
        self, request: "DumpRequest", backend: str
    ) -> tuple[Mapping[str, Any], dict[str, int]]:
        """Let the process be captured: everything is ready for what the backend will give.

        Returns what it says of the capture, and descriptors by name, which are the caller's to
        close. Raises `TargetUnavailable`.
        """


@attrs.frozen(kw_only=True)
class ArmedProcess:
    """A process of this machine that can be dumped from outside, as it is now."""

    agent: str
    """The name of its agent, which no other has: its PID namespace, process ID and start."""
    hidden: bool
    """Whether /proc does not show it here: then the two IDs are those of its own namespace."""
    pid: int
    parent: int
    user: int
    """Its effective user ID."""
    name: str
    """What the kernel calls it."""
    argv: tuple[str, ...]
    started_at: datetime
    """UTC, to about 10 ms."""
    memory: int
    """Bytes resident."""
    threads: int
    dumps: int
    """How often it was dumped from outside."""
    last_dump: datetime | None
    """UTC."""


@attrs.frozen(kw_only=True)
class ProcessFacts:
    """What a Python process says of itself; of another process, when it was armed."""

    argv: tuple[str, ...] = ()
    """`sys.orig_argv`."""
    runtime: Mapping[str, object] = attrs.field(factory=dict)
    """The interpreter, in JSON's types: the section ``runtime`` of the manifest."""
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    """What `gencore.annotate` has set."""
    python_threads: "tuple[PythonThread, ...] | None" = None
    """Its Python stacks, taken under the GIL; None if it was captured without."""
    observed_before: float = 0.0
    """How many seconds before the instant they were taken."""
