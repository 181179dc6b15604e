"""Asks the agent of an armed process: where it listens, who it is, what it answers.

What is sent and answered is described in native/service.h.
"""

import errno
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final, Self

import attrs

from gencore import DumpRequest, TargetUnavailable
from gencore.target import Target
from gencore_backends.linux.agent_directories import directories_of
from gencore_backends.linux.preflight import UNKNOWN_PYTHON
from gencore_backends.linux.proc import read_status
from gencore_backends.linux.snapshot import STOP_TIMEOUT_MS

__all__ = ["Answer", "Identity", "ask"]

_REQUEST: Final = struct.Struct("=8sII16s16s16sII")
_VERSION: Final = 1
_PACKET: Final = 64 << 10
_MOST_DESCRIPTORS: Final = 8
_LARGEST_ANSWER: Final = 64 << 20
_NAMESPACE_START: Final = 19
"""Where /proc/PID/stat has the start, counted from what stands behind the name; see proc(5)."""
_PATIENCE: Final = 10.0
"""Seconds for an answer. A stopped process (SIGSTOP) gives none."""
_ARM: Final = "start it with: gencore exec -- COMMAND"
_REFUSALS: Final = {
    "version": ("its agent speaks another version", "use the gencore that it has installed"),
    "undumpable": (
        "the kernel considers it not dumpable (prctl(2)), most often because it changed its user",
        "pass --allow-undumpable",
    ),
    "set-user-id": ("it runs with another user's rights (set-user-ID)", "start it as one user"),
    "userfaultfd": (
        "a userfaultfd of it reports forks (UFFD_FEATURE_EVENT_FORK): a clone would never return",
        "drop UFFD_FEATURE_EVENT_FORK from UFFDIO_API",
    ),
    "stacks": (UNKNOWN_PYTHON, "pass content='private'"),
    "other-user": ("it belongs to another user", "ask as that user, or as root"),
}


@attrs.frozen
class Answer(AbstractContextManager["Answer"]):
    """What an agent says, and the descriptors that it passed: the caller's to close."""

    values: Mapping[str, Any]
    descriptors: dict[str, int]

    def __exit__(self, *_: object) -> None:
        """Close the descriptors."""
        self.close()

    def close(self) -> None:
        """Close what is still here of the descriptors."""
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])


def ask(
    target: Target, request: DumpRequest | None = None, passed: tuple[int, ...] = ()
) -> Answer:
    """Ask the target to describe itself, or for the capture that *request* means.

    *passed*: what the core is written to, and a pidfd of who reads it. Raises
    `TargetUnavailable`.
    """
    with _connect(target) as connection:
        try:
            socket.send_fds(connection, [_packet(request)], passed)
            answer = _receive(connection)
        except OSError as error:
            raise _no_answer(target, error) from error
    refused = answer.values.get("refused")
    if refused is not None:
        answer.close()
        what, remedy = _REFUSALS.get(refused, (f"its agent refuses ({refused})", None))
        raise TargetUnavailable(f"process {target.pid}: {what}", remedy=remedy)
    return answer


def _packet(request: DumpRequest | None) -> bytes:
    wish = request or DumpRequest()
    return _REQUEST.pack(
        b"gencore",
        _VERSION,
        STOP_TIMEOUT_MS,
        b"describe" if request is None else b"capture",
        wish.content.encode(),
        wish.threads.encode(),
        wish.with_dontdump,
        wish.allow_undumpable,
    )


# ------------------------------------------------------------------------------- the connection


def _connect(target: Target) -> socket.socket:
    """Return a connection to that very process. Raises `TargetUnavailable`."""
    identity = Identity.read(target)
    error: OSError | None = None
    for address in _addresses(target, identity):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _limit(connection)
        try:
            connection.connect(address)
            if _peer(connection) == target.pid:
                return connection
        except OSError as raised:
            if error is None or raised.errno not in {errno.ECONNREFUSED, errno.ENOENT}:
                error = raised
        connection.close()
    if isinstance(error, BlockingIOError):
        raise _no_answer(target, error)
    raise _not_armed(target, error)


def _limit(connection: socket.socket) -> None:
    """Let every call give up in time, with EAGAIN.

    Not Python's own way, in which connect() does not wait for a place among those that wait.
    """
    seconds, rest = divmod(_PATIENCE, 1)
    limit = struct.pack("@ll", int(seconds), int(rest * 1e6))
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


@attrs.frozen
class Identity:
    """Which process a pid means: one may be taken again, and another namespace has the same."""

    namespace: int
    """The inode of its PID namespace."""
    pid: int
    """In that namespace."""
    start: int
    """In ticks since the machine began."""
    user: int
    """Its effective user ID."""

    @classmethod
    def read(cls, target: Target) -> Self:
        """Read it from /proc. Raises `TargetUnavailable`."""
        try:
            stat = Path(target.proc("stat")).read_text(errors="replace")
            fields = read_status(target)
            namespace = Path(target.proc("ns/pid")).stat().st_ino
        except FileNotFoundError as error:
            raise TargetUnavailable(
                f"process {target.pid} does not exist", remedy="list those that do: gencore ps"
            ) from error
        except PermissionError as error:
            what, remedy = _REFUSALS["other-user"]
            raise TargetUnavailable(f"process {target.pid}: {what}", remedy=remedy) from error
        except OSError as error:  # ESRCH: it ended meanwhile
            what = f"process {target.pid} cannot be looked at: {error.strerror}"
            raise TargetUnavailable(what) from error
        return cls(
            namespace=namespace,
            pid=int(fields["NSpid"].split()[-1]),
            start=int(stat.rpartition(")")[2].split()[_NAMESPACE_START]),
            user=int(fields["Uid"].split()[1]),
        )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pid}/{self.start}"

    @property
    def file_name(self) -> str:
        """The name of its socket in a directory."""
        return f"{self.namespace}-{self.pid}-{self.start}.sock"


def _addresses(target: Target, identity: Identity) -> Iterator[str]:
    """Yield the abstract socket, and those in directories as the process sees them.

    A path below /proc/PID/root reaches into a container; it is longer than an address may be, so
    its directory is opened first.
    """
    yield f"\0gencore/{identity}"
    for directory in directories_of(identity.user):
        with suppress(OSError):
            fd = os.open(target.proc("root") + directory, os.O_PATH | os.O_DIRECTORY)
            try:
                if os.fstat(fd).st_uid in {0, identity.user}:
                    yield f"/proc/self/fd/{fd}/{identity.file_name}"
            finally:
                os.close(fd)


def _peer(connection: socket.socket) -> int:
    """Return the pid of who listens: others may have taken the name of an abstract socket."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("=iII", data)[0])


def _receive(connection: socket.socket) -> Answer:
    """Receive the packets of one answer. Raises OSError."""
    text, descriptors = bytearray(), []
    end_by = time.monotonic() + _PATIENCE
    try:
        while len(text) < _LARGEST_ANSWER and time.monotonic() < end_by:
            packet, fds, _, _ = socket.recv_fds(connection, _PACKET, _MOST_DESCRIPTORS)
            descriptors += fds
            if not packet:
                break
            text += packet
        values = json.loads(text)
        return Answer(values, dict(zip(values.get("descriptors", ()), descriptors, strict=True)))
    except BaseException as error:
        for fd in descriptors:
            os.close(fd)
        if isinstance(error, ValueError | AttributeError):
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG)) from error
        raise


def _not_armed(target: Target, error: OSError | None) -> TargetUnavailable:
    if error is not None and error.errno in {errno.EACCES, errno.EPERM}:
        what, remedy = _REFUSALS["other-user"]
        return TargetUnavailable(f"process {target.pid}: {what}", remedy=remedy)
    return TargetUnavailable(f"process {target.pid} is not armed", remedy=_ARM)


def _no_answer(target: Target, error: OSError) -> TargetUnavailable:
    if isinstance(error, BlockingIOError):
        what = f"process {target.pid} does not answer: is it stopped (SIGSTOP)?"
        return TargetUnavailable(what, remedy=f"kill -CONT {target.pid}")
    what = f"process {target.pid} has ended, or its agent sent no answer: {error.strerror}"
    return TargetUnavailable(what, remedy="list those that are armed: gencore ps")
