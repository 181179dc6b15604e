"""A live Python process does not notice that it is dumped."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

pytestmark = pytest.mark.timeout(200)

DUMPING = """
import json, os, resource, select, signal, sys, tempfile, threading, time
import gencore

def dump(folder):
    return gencore.start(directory=folder, collectors=["raw"], content="stacks").result()

def registers_of(tid, reports):
    found = [thread for report in reports for thread in report.threads if thread.tid == tid]
    return [(thread.registers, thread.reason) for thread in found]

folder = tempfile.mkdtemp(dir=".")
WAIT = 1.5
"""

WAITS = {
    "select": "lambda: select.select([], [], [], WAIT)",
    "poll": "lambda: select.poll().poll(WAIT * 1000)",
    "epoll": "lambda: select.epoll().poll(WAIT)",
    "sleep": "lambda: time.sleep(WAIT)",
    "lock": "lambda: threading.Event().wait(WAIT)",
}


@pytest.mark.parametrize("name", WAITS)
def test_a_main_thread_that_waits_is_stopped_and_waits_on(python, name):
    """CPython calls again for the time that is left (PEP 475): registers are exact."""
    told = python(
        DUMPING
        + f"""
reports = []

def dump_while_main_waits():
    for _ in range(3):
        reports.append(dump(folder))

wait = {WAITS[name]}
dumper = threading.Thread(target=dump_while_main_waits)
dumper.start()
begin = time.monotonic()
wait()
waited = time.monotonic() - begin
dumper.join()
print(json.dumps([waited / WAIT, registers_of(os.getpid(), reports)]))
"""
    )
    share, registers = told

    assert share >= 0.99
    assert registers == [["exact", None]] * 3


def test_an_extension_that_waits_with_a_timeout_gets_no_eintr(python, tmp_path):
    """Nobody would call again for the time that is left, so its thread is read, not stopped."""
    built = tmp_path / "polling.so"
    command = ["cc", "-O2", "-fPIC", "-shared", f"-I{sysconfig.get_path('include')}"]
    subprocess.run([*command, PROGRAMS / "polling.c", "-o", built], check=True)

    results, registers = python(
        DUMPING
        + """
sys.path.insert(0, sys.argv[1])
import polling

results = []
waiter = threading.Thread(target=lambda: results.append(polling.wait_in_extension(600_000)))
waiter.daemon = True
waiter.start()
call = f"/proc/self/task/{waiter.native_id}/syscall"
while open(call).read().split()[0] == "running" or "0x927c0" not in open(call).read():
    time.sleep(0.01)  # until it is in its call, of 600,000 ms
reports = [dump(folder) for _ in range(3)]
registers = [kind for kind, _ in registers_of(waiter.native_id, reports)]
print(json.dumps([results, registers]), flush=True)
os._exit(0)
""",
        tmp_path,
    )

    assert results == []
    assert registers == ["partial"] * 3


def test_a_process_with_many_groups_has_all_its_threads(python):
    """What /proc says of a thread is then longer than a page."""
    if os.getuid():
        pytest.skip("only root may choose its groups")
    result, threads = python(
        DUMPING
        + """
os.setgroups(range(1_000_000_000, 1_000_000_300))
for _ in range(40):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
report = dump(folder)
print(json.dumps([report.result, [thread.registers for thread in report.threads]]), flush=True)
os._exit(0)
"""
    )

    assert result == "complete"
    assert threads == ["exact"] * 41


def test_few_descriptors_cost_no_thread_silently(python):
    """With 3 to 8 free ones: a refusal, or every thread, or a problem that is reported."""
    silent = python(
        DUMPING
        + """
for _ in range(5):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
dump(folder)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
silent = []
for free in range(8, 2, -1):
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass
    for descriptor in taken[-free:]:
        os.close(descriptor)
    try:
        report = dump(folder)
    except gencore.GencoreError:
        pass
    else:
        if len(report.threads) != 6 and not report.problems and not report.warnings:
            silent.append([free, len(report.threads), report.result])
    finally:
        for descriptor in taken[:-free]:
            os.close(descriptor)
print(json.dumps(silent), flush=True)
os._exit(0)
"""
    )

    assert silent == []


def test_a_child_that_is_forked_meanwhile_handles_no_signal_of_ours(python):
    """Every real-time signal has its default action in the child."""
    counts = python(
        DUMPING
        + """
stop = threading.Event()

def handled():
    with open("/proc/self/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt")).split()[1]
    return [n for n in range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if int(caught, 16) >> n - 1 & 1]

def fork_often():
    wrong = forked = 0
    while not stop.is_set():
        time.sleep(0.002)
        child = os.fork()
        if child == 0:
            os._exit(bool(handled()))
        wrong += os.waitpid(child, 0)[1] != 0
        forked += 1
    counts.extend([wrong, forked])

counts = []
forker = threading.Thread(target=fork_often)
forker.start()
for _ in range(4):
    dump(folder)
stop.set()
forker.join()
print(json.dumps(counts))
"""
    )
    wrong, forked = counts

    assert forked > 0
    assert wrong == 0


def test_a_signal_of_the_process_wakes_pythons_main_thread(python):
    """Its handler runs though another thread may have taken the signal. Nearly always."""
    late, sent = python(
        DUMPING
        + """
class Woken(Exception):
    pass

def wake(*_):
    raise Woken

signal.signal(signal.SIGUSR1, wake)
stop = threading.Event()
dumper = threading.Thread(target=lambda: [dump(folder) for _ in iter(stop.is_set, True)])
for _ in range(20):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
orders, order = os.pipe()
service = os.getpid()
if os.fork() == 0:
    os.close(order)
    while os.read(orders, 1):
        time.sleep(0.02)
        os.kill(service, signal.SIGUSR1)
    os._exit(0)
dumper.start()
late = 0
for _ in range(20):
    begin = time.monotonic()
    try:
        os.write(order, b"x")
        select.select([], [], [], 4)
        time.sleep(10)
    except Woken:
        late += time.monotonic() - begin > 3.9  # woken by the end of select()
stop.set()
dumper.join()
print(json.dumps([late, 20]), flush=True)
os._exit(0)
"""
    )

    assert late <= sent / 5
