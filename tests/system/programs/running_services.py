"""Services as people run them, below ``gencore exec``: started, asked, and looked at.

For tests and benchmarks. services/service.py is what they all run.
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from gencore.arming import armed_processes

__all__ = [
    "BIN",
    "COMMANDS",
    "Load",
    "Service",
    "agent_at_rest",
    "free_port",
    "switches",
    "wait_for",
]

BIN = Path(sys.executable).parent
PROGRAMS = Path(__file__).with_name("services")
PATIENCE = 100
"""Seconds after which something is wrong, on however busy a machine."""

GUNICORN = "gunicorn --bind 127.0.0.1:{port} service:wsgi"
UVICORN = "uvicorn --port {port} service:asgi"
COMMANDS = {
    "gunicorn sync": GUNICORN,
    "gunicorn gthread": f"{GUNICORN} --threads 4",
    "gunicorn gevent": f"{GUNICORN} --worker-class gevent",
    "uvicorn": f"{UVICORN} --loop uvloop",
    "uvicorn --reload": f"{UVICORN} --loop asyncio --reload",
    "celery prefork": "celery --quiet --app tasks worker --concurrency 1 --loglevel ERROR",
    "multiprocessing.Pool": "python service.py pool",
    "script": "python service.py",
}
"""Where {port} is missing, the service reads lines."""


class HttpClient:
    """Asks over HTTP, with a new connection for each word."""

    def __init__(self, port):
        self.port = port

    def ask(self, word):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", f"/{word}")
            return connection.getresponse().read().decode()


class LineClient:
    """Asks line by line, one question at a time."""

    def __init__(self, process):
        self.process = process
        self.lock = threading.Lock()

    def ask(self, word):
        with self.lock:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().rstrip("\n")


class Service:
    """A service in a session of its own. *directory*: where its programs are put."""

    def __init__(self, command, directory):
        self.directory = directory
        shutil.copytree(PROGRAMS, directory, dirs_exist_ok=True)
        listens = "{port}" in command
        port = free_port()
        with (directory / "log").open("w") as log:
            self.process = subprocess.Popen(
                [BIN / "gencore", "exec", "--", *command.format(port=port).split()],
                cwd=directory,
                env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
                stdin=subprocess.PIPE,
                stdout=log if listens else subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.client = HttpClient(port) if listens else LineClient(self.process)

    def answers(self):
        """Whether it has begun to. Raises AssertionError if it has ended."""
        assert self.process.poll() is None, self.log
        with contextlib.suppress(ConnectionError):
            return self.client.ask("hello") == "hello"

    @property
    def log(self):
        return (self.directory / "log").read_text()

    @property
    def armed(self):
        """The process IDs of those of its processes that are armed."""
        return [p.pid for p in armed_processes() if session_of(p.pid) == self.pid]

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.communicate()


class Load:
    """Asks all the time, on a thread, until it gets another answer than it should."""

    def __init__(self, service):
        self.service = service
        self.times = [time.monotonic()]
        """When there was an answer; the first: when it began."""
        self.failure = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _ask(self):
        try:
            while not self._over.is_set():
                word = str(len(self.times))
                answer = self.service.client.ask(word)
                assert answer == word
                self.times.append(time.monotonic())
        except (AssertionError, OSError) as error:
            self.failure = error

    def wait_for_another(self):
        """Wait for an answer to what is asked from now on. Raises AssertionError."""
        enough = len(self.times) + 2
        wait_for(lambda: self.failure or len(self.times) >= enough)
        assert self.failure is None, (self.failure, self.service.log)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def session_of(pid):
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)


def wait_for(condition):
    """Wait until it is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def agent_at_rest(pid):
    """Return the folder in /proc of the agent's thread, once that is where it sleeps."""
    while True:
        for task in Path(f"/proc/{pid}/task").iterdir():
            is_agent = (task / "comm").read_text() == "gencore-agent\n"
            if is_agent and "poll" in (task / "wchan").read_text():
                return task


def switches(task):
    """Return how often a thread has ceased to run so far."""
    rows = (row.partition(":") for row in (task / "status").read_text().splitlines())
    return sum(int(value) for name, _, value in rows if name.endswith("ctxt_switches"))
