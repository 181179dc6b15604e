"""Messages between a target and its recorder: values and descriptors, over one socket.

Each message is one packet: a pickled (kind, value), in a file in memory if it is long. Not the
module `socket`, whose sockets are gevent's in a process that gevent has patched.
"""

import _socket  # noqa: PLC2701 - see above
import array
import errno
import json
import os
import pickle
from collections.abc import Sequence
from struct import Struct, pack
from typing import Any, Final, NamedTuple

from gencore._runtime.application_errors import reraise_if_from_handler

__all__ = ["Channel", "Message", "decode", "encode"]

_LONGEST_PACKET: Final = 32 << 10
_MOST_DESCRIPTORS: Final = 16
_CREDENTIALS: Final = Struct("@iII")
"""Process ID, user and group of who sends, see unix(7)."""
_LONG: Final = b"\0"
"""The packet of a message that is in a file: the last descriptor. No pickle begins with it."""
_CAPTURED: Final = b"{"
"""What the message begins with that native code sends with a capture, in JSON."""
_STARTED: Final = b"p"
"""What the packet begins with in which a clone says that it has started the recorder: with its
pidfd, or with an errno in decimal behind it."""


class Message(NamedTuple):
    """What arrived."""

    kind: str
    value: Any
    descriptors: tuple[int, ...]
    """The receiver's to close."""


class Channel:
    """One end."""

    def __init__(self, fd: int = -1) -> None:
        """Own the descriptor of a local socket, now or with `own`."""
        self._socket = _socket.socket.__new__(_socket.socket)
        self._sender: tuple[int, int, int] | None = None
        if fd >= 0:
            self.own(fd)

    def own(self, fd: int) -> None:
        """Own that descriptor. One step: it never belongs to a socket that nobody has."""
        self._socket.__init__(fileno=fd)  # type: ignore[misc]  # of an object that is closed

    def fileno(self) -> int:
        """Return its descriptor, -1 once it is closed."""
        return self._socket.fileno()

    def give_up_sending_after(self, seconds: int) -> None:
        """Let `send` raise BlockingIOError if the other end leaves so much unread for so long."""
        limit = pack("@ll", seconds, 0)
        self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)

    def take_from(self, sender: int) -> None:
        """Let `receive` raise `PermissionError` for what is not of that process, and of its user.

        A recorder's end is told, see SCM_CREDENTIALS in unix(7): the process may have become
        another user since, and children that it has forked may have its end.
        """
        self._sender = sender, os.getuid(), os.getgid()

    def send(self, kind: str, value: object = None, descriptors: Sequence[int] = ()) -> None:
        """Send a message. Raises OSError if the other end is gone, and what pickling raises."""
        data = encode(kind, value)
        if len(data) <= _LONGEST_PACKET:
            self._send(data, descriptors)
            return
        file = os.memfd_create("gencore-message", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(data)
            self._send(_LONG, [*descriptors, file])
        finally:
            os.close(file)

    def _send(self, packet: bytes, descriptors: Sequence[int]) -> None:
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())
        control = [rights] if descriptors else []
        self._socket.sendmsg([packet], control, _socket.MSG_NOSIGNAL)

    def receive(self) -> Message | None:
        """Wait for a message; None if the other end is closed. Raises what `decode` does."""
        packet, control = self._receive()
        descriptors = array.array("i")
        sender: tuple[Any, ...] | None = None
        for _, kind, data in control:
            if kind == _socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            else:
                sender = _CREDENTIALS.unpack(data)
        if packet and self._sender not in {None, sender}:
            raise PermissionError(errno.EPERM, f"a message of {sender}")
        return decode(packet, descriptors)

    def _receive(self) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        room = _socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
        room += _socket.CMSG_SPACE(_CREDENTIALS.size)
        flags = _socket.MSG_CMSG_CLOEXEC
        try:
            packet, control, _, _ = self._socket.recvmsg(_LONGEST_PACKET, room, flags)
        except ConnectionResetError:  # the other end left something unread; what it sent follows
            packet, control, _, _ = self._socket.recvmsg(_LONGEST_PACKET, room, flags)
        return packet, control

    def detach(self) -> int:
        """Let go of its descriptor, which is then the caller's; -1 if it is closed."""
        return self._socket.detach()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def encode(kind: str, value: object) -> bytes:
    """Return a message as bytes. Raises what pickling raises."""
    return pickle.dumps((kind, value))


def decode(packet: bytes, descriptors: Sequence[int]) -> Message | None:
    """Return the message of a packet with its descriptors; None for the end.

    Raises OSError for what is no message: with standard output closed, a program may write
    anywhere.
    """
    if not packet:
        return None
    if packet == _STARTED:
        return Message("started", None, tuple(descriptors))
    if packet.startswith(_STARTED):
        reason = os.strerror(int(packet.removeprefix(_STARTED)))
        return Message("unable", f"no process can be started: {reason}", ())
    if packet == _LONG:
        *descriptors, number = descriptors
        with os.fdopen(number, "rb") as file:
            file.seek(0)
            packet = file.read()
    if packet.startswith(_CAPTURED):
        return Message("captured", json.loads(packet), tuple(descriptors))
    try:
        kind, value = pickle.loads(packet)  # noqa: S301 - see above
    except Exception as error:
        reraise_if_from_handler(error)
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG)) from error
    return Message(kind, value, tuple(descriptors))
