"""Calls of CPython's main thread that a dump interrupts."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CALLS = {
    "_socket": "ends = socket.socketpair(); ends[0].recv(1)",
    "fcntl": "fcntl.flock(other_file(), fcntl.LOCK_EX)",
    "select": "select.poll().poll()",
}
"""A call that waits for ever, of each extension module whose frames can be told."""
WAITING = """
import fcntl, os, select, signal, socket, sys, tempfile, threading, gencore

def other_file():
    held = tempfile.NamedTemporaryFile(dir=sys.argv[1])
    fcntl.flock(held, fcntl.LOCK_EX)
    kept.append(held)
    return open(held.name)

def handle(*_):
    handled.set()

def dump():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    early = handled.is_set()
    dump = gencore.start(directory=sys.argv[1], collectors=["manifest"], content="stacks")
    dump.result()
    print(early, handled.wait(30), flush=True)
    os._exit(0)

kept, handled = [], threading.Event()
signal.signal(signal.SIGUSR1, handle)
threading.Thread(target=dump).start()
print("waiting", flush=True)
{}
"""
RESTART_SYSCALL = {"x86_64": "219", "aarch64": "128"}.get(platform.machine())
SERVICE = """
import os, select, sys, threading, gencore

def dump():
    sys.stdin.readline()
    dump = gencore.start(directory=sys.argv[1], collectors=["manifest"], content="stacks")
    dump.result()
    print({thread.tid: thread.registers for thread in dump.threads}[os.getpid()], flush=True)
    os._exit(0)

threading.Thread(target=dump).start()
select.poll().poll(3_600_000)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def test_cpythons_main_thread_in_a_restarted_call_is_stopped(tmp_path):
    """So its call ends with EINTR, and it looks whether a signal handler is to be run."""
    command = [sys.executable, "-c", SERVICE, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as service:
        call = Path(f"/proc/{service.pid}/syscall")
        while call.read_text().split()[0] != RESTART_SYSCALL:
            service.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, service.pid, os.WSTOPPED)
            service.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        registers, _ = service.communicate("now\n", timeout=60)

    assert registers.strip() == "exact"


@pytest.mark.parametrize("module", CALLS)
def test_a_signal_that_another_thread_has_taken_is_handled(tmp_path, module):
    """A dump ends the main thread's call with EINTR: CPython runs the handler, and calls again."""
    command = [sys.executable, "-c", WAITING.replace("{}", CALLS[module]), tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as service:
        assert service.stdout.readline() == "waiting\n"
        while Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.01)
        printed, _ = service.communicate("now\n", timeout=60)

    assert printed.split() == ["False", "True"]
