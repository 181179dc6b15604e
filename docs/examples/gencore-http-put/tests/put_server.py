"""A small HTTP server that keeps what is put to it: python put_server.py DIRECTORY."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Takes bodies in chunks, and shows none before its last chunk."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        path = Path(sys.argv[1], Path(self.path).name)
        if os.environ.get("TOKEN", "") not in self.headers.get("Authorization", ""):
            self.answer(401)
            return
        try:
            body = b"".join(self.chunks())
        except (OSError, ValueError):
            self.close_connection = True  # it was cut short
            return
        self.answer(self.keep(path, body))

    def chunks(self):
        while size := int(self.rfile.readline(), 16):
            chunk = self.rfile.read(size)
            if len(chunk) < size or self.rfile.readline() != b"\r\n":
                raise OSError("cut short")
            yield chunk
        self.rfile.readline()

    def keep(self, path, body):
        try:
            with path.open("xb" if self.headers["If-None-Match"] == "*" else "wb") as file:
                file.write(body)
        except FileExistsError:
            return 412
        return 201

    def answer(self, status):
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_):
        """Keep quiet."""


with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
