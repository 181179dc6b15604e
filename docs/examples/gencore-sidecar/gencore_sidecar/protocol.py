"""What the backend and the sidecar agree on: who may talk, and how an answer begins.

The backend connects and sends one line, ``probe`` or ``dump``. The answer's first line is
``ok SIZE`` or ``no REASON``; after ``ok SIZE`` come SIZE bytes, the core. No process is named:
the kernel tells the sidecar who asks, and nobody can ask for another's memory.
"""

import os
import socket
import struct
from contextlib import AbstractContextManager
from typing import Final, Literal

__all__ = ["MAX_LINE", "Answer", "NotDone", "Request", "is_trusted", "peer_of"]

Request = Literal["probe", "dump"]
MAX_LINE: Final = 1000
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred, see unix(7): pid, uid, gid


class NotDone(Exception):
    """The sidecar refused, or its answer is invalid."""


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the other side's pid, 0 if it is in a namespace that is not seen here, and uid."""
    size = _CREDENTIALS.size
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def is_trusted(connection: socket.socket) -> bool:
    """Whether the other side runs as this user, or as root, who can read everything anyway."""
    return peer_of(connection)[1] in {os.geteuid(), 0}


class Answer(AbstractContextManager["Answer"]):
    """One request and its answer. *timeout* is for each wait, in seconds.

    Raises OSError and `NotDone`, with nothing left open.
    """

    def __init__(self, path: str, request: Request, timeout: float) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._file = self._connection.makefile("rb")
        try:
            self._connection.settimeout(timeout)
            self._connection.connect(path)
            self._send(request)
            self.size = _size_in(self._file.readline(MAX_LINE))
        except BaseException:
            self.close()
            raise

    def _send(self, request: Request) -> None:
        if not is_trusted(self._connection):
            raise NotDone("the socket belongs to another user")
        self._connection.sendall(f"{request}\n".encode())

    def read_into(self, buffer: memoryview) -> int:
        """Fill *buffer*; return how many bytes came before the end. Raises OSError."""
        return self._file.readinto(buffer)

    def give_up(self) -> None:
        """Let a blocked `read_into` return. Called from any thread."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._connection.close()

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()


def _size_in(line: bytes) -> int:
    word, _, rest = line.decode(errors="replace").strip().partition(" ")
    if word == "ok" and rest.isdecimal():
        return int(rest)
    raise NotDone(rest if word == "no" else "the sidecar exited without an answer")
