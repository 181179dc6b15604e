"""Sends artefacts to an HTTP server, each with one PUT while it is made."""

import contextlib
import socket
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

from gencore import Destination, Range, Refused, Upload


class HttpPut(Destination):
    """Puts each artefact to URL/NAME, and replaces nothing (If-None-Match, RFC 9110).

    Args:
        url: The folder: ``https://dumps.example/orders``.
        token_file: A file with the token for ``Authorization: Bearer``; read for each dump.
        timeout: Seconds for each wait for the server.
    """

    name = "http-put"
    api_version = (1, 1)

    def __init__(
        self,
        *,
        url: str,
        token_file: Path | None = None,
        timeout: Annotated[float, Range(0.1, 3600)] = 30.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise Refused(f"url={url!r}: unsupported", remedy="pass url='https://HOST/FOLDER'")
        self._url = url.rstrip("/")
        self._path = parts.path.rstrip("/")
        self._connect_to = parts.hostname, parts.port, timeout
        self._class = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._token_file = token_file

    def check(self) -> None:
        """Read the token, and connect; nothing is sent."""
        self._headers()
        with contextlib.closing(self._connection()) as connection:
            connection.connect()

    def open(self, name: str, size_hint: int | None) -> Upload:  # noqa: ARG002 - chunks need none
        """Begin the request."""
        connection, quoted = self._connection(), quote(name)
        try:
            connection.putrequest("PUT", f"{self._path}/{quoted}")
            for header, value in self._headers().items():
                connection.putheader(header, value)
            connection.endheaders()
        except BaseException:
            connection.close()
            raise
        return _Put(connection, f"{self._url}/{quoted}")

    def _connection(self) -> HTTPConnection:
        host, port, timeout = self._connect_to
        return self._class(host, port, timeout=timeout)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/octet-stream",
            "If-None-Match": "*",
            "Transfer-Encoding": "chunked",
        }
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        return headers


class _Put(Upload):
    """One request, whose body is sent in chunks: RFC 9112, section 7.1."""

    def __init__(self, connection: HTTPConnection, url: str) -> None:
        self._connection = connection
        self._socket: socket.socket = connection.sock
        self._url = url

    def write(self, data: memoryview) -> None:
        if data:  # a chunk without bytes would be the last one
            self._send(b"".join((b"%x\r\n" % len(data), data, b"\r\n")))

    def commit(self) -> str:
        with contextlib.closing(self._connection):
            self._send(b"0\r\n\r\n")
            self._expect_success()
        return self._url

    def abort(self) -> None:
        """Cut the request short: a server keeps no body whose last chunk is missing."""
        with contextlib.suppress(OSError):  # closed already, by either side
            self._socket.shutdown(socket.SHUT_RDWR)  # a blocked write() returns
        self._connection.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)  # the connection's send() would connect again
        except ConnectionError:
            self._expect_success()  # a server that refuses may answer before the end
            raise

    def _expect_success(self) -> None:
        with self._connection.getresponse() as answer:
            answer.read()
            if not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110: successful
                raise OSError(f"PUT {self._url}: {answer.status} {answer.reason}")
