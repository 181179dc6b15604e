"""A thread whose system call was interrupted before, and that the kernel has restarted."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
