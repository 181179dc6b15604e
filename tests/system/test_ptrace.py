"""Cores of unarmed processes, made by the command and read by debuggers; a service under load."""

import json
import re
import subprocess
import sys
import tarfile
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Linux only"),
    pytest.mark.timeout(200),  # few tests, but long ones; see conftest.py on the order
]

SERVICE = """
import sys, threading

def compute():
    n = 0
    while True:
        n += 1

threading.Thread(target=compute, daemon=True).start()
print("ready", flush=True)

def wait_for_input():
    sys.stdin.readline()

wait_for_input()
"""
NODE = """
const server = require("http").createServer((request, response) => {
    setTimeout(() => response.end("answer"), 1);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


def dump_by_command(pid, folder, *options):
    """Dump a process by the command; return its report."""
    command = [sys.executable, "-m", "gencore", "dump", "--ptrace", str(pid), "--json"]
    done = subprocess.run(
        [*command, "-o", folder, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 3}, done.stderr  # 3: V8 has memory that no clone inherits
    (row,) = json.loads(done.stdout)["dumps"]
    return row


@pytest.fixture
def core(tmp_path):
    """Dump a Python process that computes; return the path of its core."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", SERVICE], text=True, **pipes) as service:
        service.stdout.readline()
        row = dump_by_command(service.pid, tmp_path, "--collector", "raw")
        service.communicate("\n")
    assert row["result"] == "complete"
    return row["artifacts"][0]["path"]


def test_gdb_sees_every_thread(core, tool):
    """With its stack to the beginning."""
    command = [tool("gdb"), "-nx", "-batch", "-ex", "thread apply all bt", sys.executable, core]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    stacks = re.split(r"^Thread \d+ ", shown, flags=re.MULTILINE)[1:]

    assert len(stacks) == 2
    assert all("PyEval_EvalFrame" in stack for stack in stacks)
    assert sum("_start" in stack for stack in stacks) == 1


def test_pystack_sees_the_functions(core, tool):
    """Of the thread that has the GIL, and of the one that waits."""
    command = [tool("pystack"), "core", core, sys.executable]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert "in compute" in shown
    assert "in wait_for_input" in shown
    assert "[Has the GIL]" in shown


def test_a_bundle_has_the_files_of_a_program_in_any_language(tool, tmp_path):
    """Its libraries too, and all of it is verified."""
    with subprocess.Popen([tool("sleep"), "1000"]) as process:
        row = dump_by_command(process.pid, tmp_path)
        process.kill()
    (bundle,) = (artifact["path"] for artifact in row["artifacts"])
    with tarfile.open(bundle) as opened:
        names = {Path(name).name for name in opened.getnames()}
    verify = [sys.executable, "-m", "gencore", "verify", bundle]

    assert names >= {"sleep", "libc.so.6"}
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("dumps", [1, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_a_service_answers_every_request(tool, tmp_path, dumps):
    """One that is not written in Python, and is dumped again and again meanwhile."""
    command = [tool("node"), "-e", NODE]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as service:
        url = f"http://127.0.0.1:{int(service.stdout.readline())}/"
        dumps_done = threading.Event()

        def ask(_):
            with urllib.request.urlopen(url, timeout=60) as response:
                return response.read()

        def ask_until_done(_):
            answers = {ask(0)}
            while not dumps_done.is_set():
                answers.add(ask(0))
            return answers

        with ThreadPoolExecutor(4) as clients:
            answers = [clients.submit(ask_until_done, number) for number in range(4)]
            try:
                rows = [
                    dump_by_command(service.pid, tmp_path, "--collector", "raw")
                    for _ in range(dumps)
                ]
            finally:
                dumps_done.set()
            seen = set().union(*(answer.result() for answer in answers))
        children = ask_for_children(service.pid)
        service.kill()

    assert seen == {b"answer"}
    assert children == []
    assert {thread["registers"] for row in rows for thread in row["threads"]} & {"exact"}
    assert len(rows[0]["threads"]) > 1


def ask_for_children(pid):
    """List the children of its main thread, zombies too."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
