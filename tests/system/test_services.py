"""gunicorn, as people run it: dumped from outside while it serves, and when a worker hangs."""

import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

import gencore
from gencore.arming import armed_processes

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's"),
    pytest.mark.timeout(200),
]
BIN = Path(sys.executable).parent
APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        sum(range(10**15))  # neither gives the GIL back nor looks at signals
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def gunicorn(tmp_path):
    """Return a function that starts it below ``gencore exec``; that returns its address."""
    (tmp_path / "service.py").write_text(APP)
    started = []

    def start(*options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [BIN / "gencore", "exec", "--", BIN / "gunicorn", "--bind", f"127.0.0.1:{port}"]
        process = subprocess.Popen(
            [*command, *options, "service:app"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        ready = 0
        while ready < 2:  # it listens, and a worker has booted
            line = process.stderr.readline()
            assert line, "gunicorn has ended"
            ready += "Listening at" in line or "Booting worker" in line
        process.address = f"http://127.0.0.1:{port}"
        process.log = iter(process.stderr.readline, "")
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def workers_of(process):
    return [armed.pid for armed in armed_processes() if armed.parent == process.pid]


def get(address):
    with urllib.request.urlopen(address, timeout=100) as response:
        return response.read()


def test_every_request_is_answered_while_the_worker_is_dumped(gunicorn, tmp_path):
    """Ten times, by whoever asks from outside."""
    process = gunicorn("--workers", "1")
    (worker,) = workers_of(process)
    dumped = threading.Event()
    answers = []

    def ask():
        while not dumped.is_set():
            answers.append(get(process.address))

    client = threading.Thread(target=ask)
    client.start()
    try:
        reports = [
            gencore.Pipeline(
                target=worker, directory=tmp_path, collectors=["raw"], name="{id}"
            ).run()
            for _ in range(10)
        ]
    finally:
        dumped.set()
        client.join()

    assert [report.result for report in reports] == ["complete"] * 10
    assert len(answers) > 10
    assert set(answers) == {b"ok"}
    assert workers_of(process) == [worker]


def test_a_worker_that_hangs_in_c_is_dumped_although_it_is_killed(gunicorn, tmp_path):
    """The arbiter sends SIGKILL: the bundle verifies, and its stacks show the handler."""
    process = gunicorn("--workers", "1", "--timeout", "3")
    (worker,) = workers_of(process)
    pipeline = gencore.Pipeline(target=worker, directory=tmp_path)
    pipeline.check()  # loads what is needed: there is a second, then it is killed
    refused = []

    def hang():
        try:
            get(f"{process.address}/hang")
        except OSError as error:  # whatever a client notices of a server that was killed
            refused.append(error)

    hangs = threading.Thread(target=hang)
    hangs.start()

    next(line for line in process.log if f"WORKER TIMEOUT (pid:{worker})" in line)
    dump = pipeline.start()
    hangs.join()  # the arbiter has killed it
    report = dump.result(100)

    assert refused
    assert report.result == "complete", report.problems
    bundle = report.path_of("archive")
    subprocess.run([BIN / "gencore", "verify", bundle], check=True, capture_output=True)
    stacks = subprocess.run([BIN / "gencore", "stacks", bundle], check=True, capture_output=True)
    assert b'service.py", line 4, in app' in stacks.stdout
