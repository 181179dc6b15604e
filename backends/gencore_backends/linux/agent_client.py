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
from gencore_backends.linux import _native
from gencore_backends.linux.agent_directories import directories_of
from gencore_backends.linux.own_clone import UNKNOWN_PYTHON
from gencore_backends.linux.proc import read_status
from gencore_backends.linux.snapshot import STOP_TIMEOUT_MS

__all__ = [
    "LIST_THEM",
    "Answer",
    "Identity",
    "ask",
    "ask_for_file",
    "ask_for_names",
    "ask_to_collapse",
    "listening",
]

_REQUEST: Final = struct.Struct("=8sII16s32sII")
_WISH: Final = struct.Struct("=16s16s")
_PLACE: Final = struct.Struct("=QQ")
"""Start of a mapping, and offset in its file."""
_COLLAPSE: Final = struct.Struct("=QQQ8x")
"""Nanoseconds for everything and for a step, and the bytes to grow by."""
_MARK: Final = "@gencore/"
"""With which the names of abstract sockets begin in /proc/net/unix."""
_UNMAPPED: Final = 65534
"""What the uid of another user namespace is shown as."""
_VERSION: Final = 1
_PACKET: Final = 64 << 10
_MOST_DESCRIPTORS: Final = 8
_LARGEST_ANSWER: Final = 64 << 20
_NAMESPACE_START: Final = 19
"""Where /proc/PID/stat has the start, counted from what stands behind the name; see proc(5)."""
_PATIENCE: Final = 10.0
"""Seconds for an answer. A stopped process (SIGSTOP) gives none."""
_STOPPED_FOR_GOOD: Final = 0.5
"""Seconds after which it is given up: what throttles a process (cpulimit) stops it for less."""
_LOOK_AGAIN: Final = 0.002
_ARM: Final = "start it with: gencore exec -- COMMAND"
LIST_THEM: Final = "list those that are armed: gencore ps"
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
    target: Target,
    request: DumpRequest | None = None,
    passed: tuple[int, ...] = (),
    *,
    patience: float | None = None,
) -> Answer:
    """Ask the target to describe itself, or for the capture that *request* means.

    *passed*: what the core is written to, and a pidfd of who reads it; *patience*: seconds for
    each step, 10 by default. Raises `TargetUnavailable`.
    """
    wish = request or DumpRequest()
    packet = _packet(
        b"describe" if request is None else b"capture",
        _WISH.pack(wish.content.encode(), wish.threads.encode()),
        wish,
    )
    with _connect(target) as connection:
        if patience is not None:
            _limit(connection, patience)
        try:
            socket.send_fds(connection, [packet], passed)
            answer = _receive(connection)
        except OSError as error:
            raise _no_answer(target, error) from error
    refused = answer.values.get("refused")
    if refused is not None:
        answer.close()
        what, remedy = _REFUSALS.get(refused, (f"its agent refuses ({refused})", None))
        raise TargetUnavailable(f"process {target.pid}: {what}", remedy=remedy)
    return answer


def ask_to_collapse(target: Target, *, total: float, stall: float, room: int) -> list[Any] | None:
    """Let it collapse its memory into huge pages; return the outcome, as `_native.collapse` does.

    None if the agent is of a version that cannot. Raises `TargetUnavailable`.
    """
    packet = _packet(b"collapse", _COLLAPSE.pack(int(total * 1e9), int(stall * 1e9), room))
    with _connect(target) as connection:
        _limit(connection, total + _PATIENCE)
        try:
            connection.send(packet)
            with _receive(connection, total + _PATIENCE) as answer:
                return answer.values.get("huge_pages")
        except OSError as error:
            if error.errno == errno.EBADMSG:  # nothing: it does not know what that is
                return None
            raise _no_answer(target, error) from error


def ask_for_names(target: Target) -> dict[int, str]:
    """Return the names of its threads by their IDs, both as it sees them itself.

    Raises `TargetUnavailable` and OSError.
    """
    with _connect(target) as connection:
        connection.send(_packet(b"names"))
        rows = _receive(connection).values["names"]
    return {tid: name.encode("latin-1").decode(errors="replace") for tid, name in rows}


def ask_for_file(target: Target, start: int, file: int) -> None:
    """Write the file of the mapping that begins at *start* to a descriptor.

    In parts: between them others may ask. Raises `TargetUnavailable`, and OSError if the file
    cannot be read, or changes meanwhile.
    """
    size, done = 1, 0
    while done < size:
        size, part = _ask_for_part(target, _PLACE.pack(start, done), file)
        if not part and done < size:
            raise OSError(errno.EIO, f"{done:,} of {size:,} bytes came")
        done += part


def _ask_for_part(target: Target, place: bytes, file: int) -> tuple[int, int]:
    """Write what comes of a part; return the size of the whole file, and that of the part."""
    done = 0
    with _connect(target) as connection:
        connection.send(_packet(b"file", place))
        said = json.loads(connection.recv(_PACKET) or "{}")
        if "size" not in said or "errno" in said:
            number = said.get("errno", errno.EBADMSG)
            raise OSError(number, os.strerror(number))
        while packet := connection.recv(_PACKET):
            done += os.write(file, packet)
    return said["size"], done


def _packet(action: bytes, what: bytes = b"", request: DumpRequest | None = None) -> bytes:
    flags = (
        (False, False) if request is None else (request.with_dontdump, request.allow_undumpable)
    )
    return _REQUEST.pack(b"gencore", _VERSION, STOP_TIMEOUT_MS, action, what, *flags)


# ------------------------------------------------------------------------------- the connection


def listening(network: str = "/proc/net") -> set[str]:
    """Return the names of the agents that listen in a network, by its folder. Raises OSError."""
    rows = Path(f"{network}/unix").read_text(errors="replace").split("\n")
    names = (row.rpartition(" ")[2] for row in rows)
    return {name.removeprefix(_MARK) for name in names if name.startswith(_MARK)}


def _connect(target: Target) -> socket.socket:
    """Return a connection to that very process. Raises `TargetUnavailable`."""
    if target.hidden is not None:
        return _connect_hidden(target, target.hidden.name)
    identity = Identity.read(target)
    error: OSError | None = None
    for connection, address in _ways(target, identity):
        _limit(connection, _PATIENCE)
        try:
            connection.connect(address)
            if _peer(connection)[0] == target.pid:
                return _unless_stopped(target, connection)
        except OSError as raised:
            if error is None or raised.errno not in {errno.ECONNREFUSED, errno.ENOENT}:
                error = raised
        connection.close()
    if isinstance(error, BlockingIOError):
        raise _no_answer(target, error)
    raise _not_armed(target, error)


def _unless_stopped(target: Target, connection: socket.socket) -> socket.socket:
    """Return it; close it if the process stays stopped: nobody would answer before it goes on."""
    end_by = time.monotonic() + _STOPPED_FOR_GOOD
    while _is_stopped(target):
        if time.monotonic() > end_by:
            connection.close()
            raise _stopped(target, "process {} is stopped (SIGSTOP), and does not answer")
        time.sleep(_LOOK_AGAIN)
    return connection


def _is_stopped(target: Target) -> bool:
    with suppress(OSError):  # it has ended, which the connection says
        return read_status(target)["State"].startswith("T")  # see proc(5)
    return False


def _connect_hidden(target: Target, name: str) -> socket.socket:
    """Return a connection to the agent of that name, if it is none of a process that is visible.

    The kernel shows the ID of a process of another PID namespace as 0. Raises `TargetUnavailable`.
    """
    connection = _new_socket()
    _limit(connection, _PATIENCE)
    try:
        connection.connect(_abstract(name))
        _check_hidden(name, *_peer(connection))
    except OSError as error:
        connection.close()
        if isinstance(error, BlockingIOError):
            raise _no_answer(target, error) from error
        what = f"agent {name} does not listen in this network: {error.strerror}"
        raise TargetUnavailable(what, remedy=LIST_THEM) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check_hidden(name: str, pid: int, user: int) -> None:
    """Raise `TargetUnavailable` unless it is in another PID namespace, and may be asked."""
    if pid:
        raise TargetUnavailable(f"agent {name} belongs to process {pid} here")
    if user == _UNMAPPED or os.geteuid() not in {0, user}:
        what, remedy = _REFUSALS["other-user"]
        raise TargetUnavailable(f"process of agent {name}: {what}", remedy=remedy)


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _abstract(name: object) -> str:
    return f"\0gencore/{name}"


def _limit(connection: socket.socket, seconds: float) -> None:
    """Let every call give up in time, with EAGAIN.

    Not Python's own way, in which connect() does not wait for a place among those that wait.
    """
    whole, rest = divmod(seconds, 1)
    limit = struct.pack("@ll", int(whole), int(rest * 1e6))
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
        """Read it from /proc, or take it from the name of an agent. Raises `TargetUnavailable`."""
        if target.hidden is not None:
            namespace, pid, start = map(int, target.hidden.name.split("/"))
            user = int(read_status(target)["Uid"].split()[1])
            return cls(namespace=namespace, pid=pid, start=start, user=user)
        try:
            stat = Path(target.proc("stat")).read_text(errors="replace")
            fields = read_status(target)
            namespace = Path(target.proc("ns/pid")).stat().st_ino
        except FileNotFoundError as error:
            raise TargetUnavailable(
                f"process {target.pid} does not exist", remedy="list those that do: gencore ps"
            ) from error
        except PermissionError as error:
            what, remedy = _why_closed(target)
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


def _why_closed(target: Target) -> tuple[str, str | None]:
    """Return why its namespaces are closed to this process, which may be of the same user."""
    with suppress(OSError):  # /proc may show nothing of others (hidepid)
        if int(read_status(target)["Uid"].split()[1]) == os.geteuid():
            what = "it has rights that this process lacks, or is not dumpable (prctl(2))"
            as_root = f"sudo gencore dump --allow-undumpable {target.pid}"
            return what, as_root if os.geteuid() else "docker run --cap-add SYS_PTRACE ..."
    return _REFUSALS["other-user"]


def _ways(target: Target, identity: Identity) -> Iterator[tuple[socket.socket, str]]:
    """Yield a socket and an address for each way to the process.

    The abstract socket, those in directories as the process sees them, and the abstract one in its
    own network. Raises `TargetUnavailable` if only that is left, and may not be entered.
    """
    yield _new_socket(), _abstract(identity)
    for path in _paths(target, identity):
        yield _new_socket(), path
    with suppress(FileNotFoundError, ProcessLookupError):
        if str(identity) in listening(target.proc("net")) - listening():
            yield _socket_in_network_of(target), _abstract(identity)


def _socket_in_network_of(target: Target) -> socket.socket:
    try:
        network = os.open(target.proc("ns/net"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return socket.socket(fileno=_native.socket_in_network(network))
        finally:
            os.close(network)
    except PermissionError as error:
        what = (
            f"process {target.pid} listens in another network, which takes CAP_SYS_ADMIN to enter"
        )
        as_root = f"sudo gencore dump {target.pid}"
        remedy = as_root if os.geteuid() else "docker run --cap-add SYS_ADMIN ..."
        raise TargetUnavailable(what, remedy=remedy) from error


def _paths(target: Target, identity: Identity) -> Iterator[str]:
    """Yield the addresses of sockets in directories.

    A path below /proc/PID/root reaches into a container; it is longer than an address may be, so
    its directory is opened first.
    """
    for directory in directories_of(identity.user):
        with suppress(OSError):
            fd = os.open(target.proc("root") + directory, os.O_PATH | os.O_DIRECTORY)
            try:
                if os.fstat(fd).st_uid in {0, identity.user}:
                    yield f"/proc/self/fd/{fd}/{identity.file_name}"
            finally:
                os.close(fd)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of who listens: others may have taken the name of an abstract socket."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, user, _ = struct.unpack("=iII", data)
    return pid, user


def _receive(connection: socket.socket, patience: float = _PATIENCE) -> Answer:
    """Receive the packets of one answer. Raises OSError."""
    text, descriptors = bytearray(), []
    end_by = time.monotonic() + patience
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
        if isinstance(error, ValueError | AttributeError | RecursionError):
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG)) from error
        raise


def _not_armed(target: Target, error: OSError | None) -> TargetUnavailable:
    if error is not None and error.errno in {errno.EACCES, errno.EPERM}:
        what, remedy = _REFUSALS["other-user"]
        return TargetUnavailable(f"process {target.pid}: {what}", remedy=remedy)
    with suppress(OSError):
        if read_status(target)["State"].startswith(("Z", "X")):
            return TargetUnavailable(f"process {target.pid} has ended, and waits for its parent")
    return TargetUnavailable(f"process {target.pid} is not armed", remedy=_ARM)


def _no_answer(target: Target, error: OSError) -> TargetUnavailable:
    if isinstance(error, BlockingIOError):
        what = "process {} does not answer: is it stopped (SIGSTOP)?"
        return _held_by_debugger(target) or _stopped(target, what)
    what = f"process {target.pid} has ended, or its agent sent no answer: {error.strerror}"
    return TargetUnavailable(what, remedy=LIST_THEM)


def _stopped(target: Target, what: str) -> TargetUnavailable:
    return TargetUnavailable(what.format(target.pid), remedy=f"kill -CONT {target.pid}")


def _held_by_debugger(target: Target) -> TargetUnavailable | None:
    """Return what to say if one holds it: to let it go on (SIGCONT) would change nothing."""
    with suppress(OSError):
        status = read_status(target)
        if status["State"].startswith("t"):
            tracer = status["TracerPid"]
            return TargetUnavailable(
                f"process {target.pid} does not answer: process {tracer} traces it, and holds it",
                remedy=f"end that one, or let it detach: ps -fp {tracer}",
            )
    return None
