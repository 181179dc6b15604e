"""The sidecar: runs gcore on each process that asks, and sends it the core."""

import argparse
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
from pathlib import Path
from socket import socket
from typing import Any, Final

from gencore_sidecar.protocol import MAX_LINE, NotDone, is_trusted, peer_of

_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
_GCORE_TIMEOUT: Final = 100
"""Seconds until a gcore that hangs is ended; the process that it has stopped cannot do it."""


class Sidecar(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves processes of its own user, and root's. Closing it waits for unfinished requests."""

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Turn others away before a byte is read."""
        return is_trusted(request)


class Request(socketserver.StreamRequestHandler):
    """One request."""

    timeout = 60  # seconds for each wait, so that nobody who is stuck keeps a core here

    def handle(self) -> None:
        """Answer it."""
        try:
            match self.rfile.readline(MAX_LINE):
                case b"probe\n":
                    check()
                    self.wfile.write(b"ok 0\n")
                case b"dump\n":
                    send_core(self.connection)
        except NotDone as error:
            self.wfile.write(f"no {error}".encode()[: MAX_LINE - 1] + b"\n")
        except OSError as error:
            print(f"request failed: {error}", flush=True)


def check() -> None:
    """Raise `NotDone` if gcore would not work."""
    if shutil.which("gcore") is None:
        raise NotDone("gcore not found: install gdb in the sidecar")
    if os.geteuid() != 0 and _YAMA.exists() and _YAMA.read_text().strip() != "0":
        raise NotDone("ptrace not permitted: sysctl kernel.yama.ptrace_scope=0")


def send_core(connection: socket) -> None:
    """Make the core of the other side of *connection*, and send it."""
    pid, _ = peer_of(connection)
    if pid == 0:
        raise NotDone("process not visible to the sidecar: share the PID namespace")
    with tempfile.TemporaryDirectory(prefix="gencore-sidecar-") as private:
        core = make_core(pid, Path(private)).open("rb")
    with core:  # it has no name any more: whatever happens, nothing stays
        connection.sendall(b"ok %d\n" % os.fstat(core.fileno()).st_size)
        connection.sendfile(core)


def make_core(pid: int, directory: Path) -> Path:
    """Run gcore, and return the core's path in *directory*. Raises `NotDone`."""
    command = ["gcore", "-o", str(directory / "core"), str(pid)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        process_group=0,
    ) as gcore:  # fmt: skip
        try:
            said, _ = gcore.communicate(timeout=_GCORE_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(gcore.pid, signal.SIGKILL)  # gcore is a script: gdb is in its group
            raise NotDone(f"gcore did not finish within {_GCORE_TIMEOUT} s") from None
    core = directory / f"core.{pid}"
    if gcore.returncode or not core.exists():
        raise NotDone(f"gcore: {' '.join(said.decode(errors='replace').split())[-300:]}")
    return core


def listen(path: Path) -> Sidecar:
    """Return a server at *path*, in a directory that is closed to others."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    facts = path.parent.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise SystemExit(f"{path.parent} must belong to this user, with mode 0700")
    path.unlink(missing_ok=True)  # of a sidecar that has ended
    server = Sidecar(str(path), Request)
    path.chmod(0o600)
    return server


def main() -> None:
    """Serve until a signal ends it; say so in one line when it is ready."""
    parser = argparse.ArgumentParser(prog="python -m gencore_sidecar.server")
    parser.add_argument("--socket", type=Path, default=os.environ.get("GENCORE_SIDECAR"))
    arguments = parser.parse_args()
    if arguments.socket is None:
        parser.error("no socket: pass --socket PATH, or set GENCORE_SIDECAR=PATH")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # requests are finished first
    with listen(Path(arguments.socket)) as server:
        print(f"ready at {arguments.socket}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
