"""Processes that are not armed, dumped with ptrace: what cores hold, and what nobody notices."""

import ctypes
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from children import children

if sys.platform != "linux":
    pytest.skip("the backend is for Linux only", allow_module_level=True)

import gencore
from gencore import DumpRequest, TargetUnavailable, Unsupported
from gencore.corefile import CoreFile
from gencore.target import Target
from gencore_backends.linux import _native
from gencore_backends.linux.ptrace_rights import check_rights, why_closed_by_yama, yama_scope
from gencore_backends.linux.ptrace_snapshot import PtraceSnapshot

PTRACE_SEIZE = 0x4206
DUMPS = 5
CLONES_UNDER_SIGNALS = 50
BUSY = """
import math, sys, threading, time
data = bytearray(200 << 20)
data[::4096] = bytes([1]) * len(data[::4096])

def compute():
    x = 1.5
    while True:
        x = math.sin(x) + 1
        time.sleep(0) if x < 0 else None

for _ in range(2):
    threading.Thread(target=compute, daemon=True).start()
threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(int, 1)], daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(line, end="", flush=True)
"""


@pytest.fixture
def traced(build):
    """Return a function that starts the program in one of its ways, as a context manager."""
    program = build("traced")

    @contextmanager
    def started(*arguments, command=None):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = command or [program, *map(str, arguments)]
        with subprocess.Popen(command, text=True, **pipes) as process:
            lines = []
            while (line := process.stdout.readline()) != "ready\n":
                assert line, "the program has ended"
                lines.append(json.loads(line))
            try:
                yield SimpleNamespace(
                    process=process,
                    pid=process.pid,
                    lines=lines,
                    end=lambda: [
                        json.loads(row) for row in process.communicate(timeout=60)[0].splitlines()
                    ],
                )
            finally:
                process.kill()

    return started


@pytest.fixture
def dump(tmp_path):
    """Return a function that dumps a process, and returns the report."""

    def take(pid, **options):
        given = {"collectors": ["raw"], "directory": tmp_path, "backend": "linux-ptrace"}
        return gencore.start(**{**given, "target": pid, **options}).result()

    return take


def clone(pid, *, every_thread=False):
    """Clone a process. Return the rows of its threads, and end the clone."""
    taken = []
    _native.trace(pid, every_thread, 250, taken)
    _, control, done, _, threads, _ = taken[0]
    os.write(control, b"\0")
    assert os.read(done, 1) == b"\1", "a zombie is left"
    os.close(control)
    os.close(done)
    return threads


def core_of(report):
    """Open the core of a dump."""
    (artifact,) = report.artifacts
    return CoreFile(artifact.path)


def memory_of(report, address, size):
    """Return memory as the core has it; None where it has none."""
    with core_of(report) as core, Path(report.artifacts[0].path).open("rb") as file:
        for segment in core.program_headers:
            if segment.address <= address < segment.address + segment.file_size:
                file.seek(segment.offset + address - segment.address)
                return file.read(size)
    return None


def status_of(pid, key):
    """Return a row of its status in /proc."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(row.split(":\t", 1) for row in rows)[key].strip()


def children_of(pid):
    """List the children of its main thread, zombies too."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def states_of(pid):
    """Return the states of its threads, as the kernel writes them."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {(task / "stat").read_text().rpartition(") ")[2][0] for task in tasks}


# ----------------------------------------------------------------------------- what nobody notices


def test_calls_return_what_they_would_have_returned(traced):
    """And in time: no timeout begins anew, and no call ends early because of a dump."""
    with traced("calls", 3) as target:
        for _ in range(3):
            time.sleep(0.4)
            clone(target.pid)
        rows = target.end()

    assert [row for row in rows if not row["as expected"] or row["late"]] == []
    assert len(rows) == 17


def of_each(names, look):
    """Return what *look* returns of each: most of the time it waits, so all of them at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(look, names), strict=True))


def test_the_thread_that_makes_the_clone_goes_on_in_its_call(traced):
    """For the time that is left."""
    names = ("nanosleep", "clock_nanosleep", "poll", "ppoll", "select", "futex")

    def look(name):
        with traced("call", name, 3) as target:
            for _ in range(3):
                time.sleep(0.4)
                clone(target.pid)
            (row,) = target.end()
        return row["as expected"], row["late"]

    assert of_each(names, look) == dict.fromkeys(names, (True, False))


def test_the_only_thread_makes_the_clone_whatever_call_it_is_in(traced):
    """Its timeout may begin anew, but the call does not fail."""
    names = ("epoll_wait", "sigtimedwait", "semtimedop", "recv")

    def look(name):
        with traced("only", name, 2) as target:
            threads = clone(target.pid)
            (row,) = target.end()
        return [quality for _, quality, *_ in threads], row["as expected"]

    assert of_each(names, look) == dict.fromkeys(names, (["exact"], True))


def test_every_signal_arrives_once(traced):
    """Those that are met on the way to a stop are handed on.

    Sent by sigqueue(3): where the queue is full, kill(2) merges them and reports success.
    """
    sigqueue = ctypes.CDLL(None).sigqueue
    with traced("signals") as target:
        few = (1000, 1000)  # all processes of a user share one queue
        resource.prlimit(target.pid, resource.RLIMIT_SIGPENDING, few)
        done = threading.Event()
        sent = 0

        def send():
            nonlocal sent
            while not done.is_set():
                sent += sigqueue(target.pid, int(signal.SIGRTMIN), None) == 0

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(CLONES_UNDER_SIGNALS):
            clone(target.pid)
        done.set()
        sender.join()

        assert sent > 0
        assert target.end() == [{"counted": sent}]


def test_the_parent_sees_no_child_but_its_own(traced, dump):
    """Neither a SIGCHLD nor waitpid(-1), and no zombie is left."""
    with traced("parent") as target:
        before = children_of(target.pid)
        for _ in range(DUMPS):
            dump(target.pid)
        after = children_of(target.pid)

        assert after == before
        assert len(after) == 1
        assert target.end() == [{"SIGCHLD": 0, "waited": 0}]


def test_a_stopped_process_is_dumped_and_stays_stopped(traced, dump):
    """SIGSTOP is not ours to take back."""
    with traced("signals") as target:
        target.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, target.pid, os.WSTOPPED)
        report = dump(target.pid)
        end_by = time.monotonic() + 20  # a thread that is let go runs into its stop again
        while status_of(target.pid, "State") != "T (stopped)" and time.monotonic() < end_by:
            time.sleep(0)
        state = status_of(target.pid, "State")
        target.process.send_signal(signal.SIGCONT)

        assert report.result == "complete"
        assert state == "T (stopped)"
        assert target.end() == [{"counted": 0}]


def test_a_thread_in_vfork_holds_nobody_up(traced, dump):
    """It cannot stop; it is missing, and goes on when its child has ended."""
    with traced("vfork") as target:
        report = dump(target.pid)
        rows = {thread.registers: thread.reason for thread in report.threads}

        assert rows == {"exact": None, "missing": "it did not stop in time"}
        assert target.end() == [{"joined": True}]


def test_a_thread_that_stops_late_goes_on_while_the_core_is_written(traced):
    """It is let go as soon as it stops, and not with the clone's end."""
    with traced("vfork") as target:
        taken = []
        _native.trace(target.pid, 0, 250, taken)
        _, control, done, *_ = taken[0]
        rows = target.end()
        os.write(control, b"\0")
        os.read(done, 1)
        os.close(control)
        os.close(done)

    assert rows == [{"joined": True}]


def test_a_peer_sees_the_end_while_the_clone_is_read(traced):
    """The clone has no descriptor of its own. It outlives its parent, and ends when it is told."""
    with traced("signals") as target:
        taken = []
        _native.trace(target.pid, 0, 250, taken)
        clone, control, done, *_ = taken[0]
        target.process.kill()
        target.process.wait()
        output = select.poll()
        output.register(target.process.stdout, select.POLLHUP)
        ended = output.poll(30_000)
        state = Path(f"/proc/{clone}/stat").read_text().rpartition(")")[2].split()[0]
        os.write(control, b"\0")
        os.read(done, 1)
        os.close(control)
        os.close(done)

        assert ended
        assert state == "t"
        while Path(f"/proc/{clone}").exists():  # init is about to reap it
            time.sleep(0.01)


@pytest.fixture(params=[20, pytest.param(100, marks=pytest.mark.exhaustive)])
def killed(request):
    """Say how many tracers are killed, each at another moment."""
    return request.param


def kill_tracers(target, killed):
    """Begin so many clones of a process, and kill each tracer at another moment."""
    for number in range(killed):
        tracer = os.fork()
        if not tracer:
            try:
                _native.trace(target.pid, 0, 250, [])
            finally:
                signal.pause()
        time.sleep(random.Random(number).random() * 0.04)
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)
        assert target.process.poll() is None, f"tracer {number} has ended the process"


def blocked_in(target):
    """Return the signals that threads of a process block, as the kernel writes them."""
    return {
        (task / "status").read_text().partition("SigBlk:\t")[2].split()[0]
        for task in Path(f"/proc/{target.pid}/task").iterdir()
    }


def test_a_killed_tracer_leaves_the_process_as_it_was(traced, killed):
    """Whenever it is killed: the registers always lead back, and no signal stays blocked."""
    with traced(command=[sys.executable, "-c", BUSY]) as target:
        kill_tracers(target, killed)
        end_by = time.monotonic() + 20  # the last one may be on its way back still
        while (masks := blocked_in(target)) != {"0" * 16} and time.monotonic() < end_by:
            time.sleep(0.01)
        target.process.stdin.write('{"still": "there"}\n')

        assert masks == {"0" * 16}
        assert target.end() == [{"still": "there"}]


def test_a_killed_tracer_leaves_a_thread_that_computes_its_registers(traced, killed):
    """Those of floating-point numbers too, which are in the frame that it comes back by."""
    with traced("computes") as target:
        kill_tracers(target, killed)

        assert target.end() == [{"wrong": 0}]


def test_a_killed_dump_leaves_no_zombie_and_nothing_stopped(traced, killed):
    """At so many random moments: a guard has the process reap what the tracer no longer can."""
    with traced("signals") as target:
        for number in range(killed):
            requester = os.fork()
            if not requester:
                try:
                    PtraceSnapshot(DumpRequest(target=target.pid))
                finally:
                    signal.pause()
            time.sleep(random.Random(number).random() * 0.06)
            os.kill(requester, signal.SIGKILL)
            os.waitpid(requester, 0)
        end_by = time.monotonic() + 60
        while (found := (children(target.pid), states_of(target.pid))) != (
            [],
            {"S"},
        ) and time.monotonic() < end_by:
            time.sleep(0.01)

        assert found == ([], {"S"})
        assert target.end() == [{"counted": 0}]


# ------------------------------------------------------------------------------- what cores hold


def test_registers_of_every_thread_are_exact(traced, dump):
    """General ones and floating-point ones, of threads that compute."""
    with traced("registers") as target:
        report = dump(target.pid)
    with core_of(report) as core:
        notes = [(note.owner, note.type, note.data) for note in core.notes]
    numbers = {0x1122334455660000 + number for number in range(4)}

    for kind in ("NT_PRSTATUS", "NT_FPREGSET"):
        rows = [data for owner, type_, data in notes if owner == "CORE" and type_ == kind]
        found = {n for n in numbers for data in rows if n.to_bytes(8, sys.byteorder) in data}
        assert found == numbers, kind
    assert {thread.registers for thread in report.threads} == {"exact"}
    assert report.threads[0].tid == target.pid


def test_memory_below_the_stack_is_put_back(traced, dump):
    """In the process and in the core, where a debugger may look at what ran last."""
    with traced("stack") as target:
        report = dump(target.pid)
        rows = target.end()
    (row,) = target.lines

    assert memory_of(report, row["at"], row["size"]) == b"Z" * row["size"]
    assert rows == [{"changed": 0}]


@pytest.mark.parametrize("content", ["full", "private"])
def test_memory_of_every_kind_is_as_elsewhere(traced, dump, content):
    """What madvise(2) leaves out is left out, what a clone lacks is a gap, holes stay holes."""
    with traced("secret") as target:
        shared_before = status_of(target.pid, "RssShmem")
        report = dump(target.pid, content=content)
        everything = dump(target.pid, content=content, with_dontdump=True)
        shared_after = status_of(target.pid, "RssShmem")
    rows = {row["name"]: row["at"] for row in target.lines}
    found = {name: memory_of(report, at, len(f"of {name} memory")) for name, at in rows.items()}

    expected = {name: f"of {name} memory".encode() for name in rows}
    missing = {"dontdump": None, "dontfork": None, "wiped": bytes(len(expected["wiped"]))}
    assert found["wiped"] in {None, missing["wiped"]}
    assert {**found, "wiped": None} == {**expected, **missing, "wiped": None}
    assert memory_of(everything, rows["dontdump"], 18) == b"of dontdump memory"
    assert {part.part for part in report.problems} >= {
        "MADV_DONTFORK memory",
        "MADV_WIPEONFORK memory",
    }
    assert shared_after == shared_before


# --------------------------------------------------------------------------- when it is refused


def test_it_is_never_chosen(traced):
    """Who does not name it gets the remedy, not another process's registers changed."""
    with traced("signals") as target, pytest.raises(TargetUnavailable) as raised:
        gencore.start(target=target.pid, collectors=["raw"])

    assert "not armed" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--pid", "1"), "it is used only if it is named"),
        ((), "it dumps other processes only"),
    ],
)
def test_doctor_says_why_it_is_not_used(inside, options, text):
    """To name it helps only where another process is to be dumped."""
    _, shown, _ = inside("doctor", "--json", *options)
    (row,) = [row for row in json.loads(shown)["backends"] if row["name"] == "linux-ptrace"]

    assert [reason["text"] for reason in row["reasons"]] == [text]


def test_an_ended_process_is_unavailable(dump):
    """Whether it is gone, or waits for its parent."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(TargetUnavailable, match="has ended"):
        dump(process.pid)
    process.wait()
    with pytest.raises(TargetUnavailable, match="does not exist"):
        dump(process.pid)


def test_a_process_with_a_tracer_names_that(traced, dump):
    """There is one tracer at a time."""
    with traced("signals") as target:
        tracer = os.fork()
        if not tracer:
            ctypes.CDLL(None).ptrace(PTRACE_SEIZE, target.pid, None, None)
            signal.pause()
        while status_of(target.pid, "TracerPid") == "0":
            time.sleep(0.01)
        with pytest.raises(TargetUnavailable, match=f"traced by process {tracer} already"):
            dump(target.pid)
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_needs_root(traced):
    """The remedy is a command."""
    with traced("signals") as target:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.setresuid(65534, 65534, 65534)
            try:
                check_rights(Target(target.pid))
            except TargetUnavailable as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as file:
            message = file.read()
        os.waitpid(child, 0)

        assert "belongs to another user (0)" in message
        assert f"Remedy: sudo gencore dump --ptrace {target.pid}" in message


@pytest.mark.parametrize(
    ("scope", "what", "remedy"),
    [
        (1, "its ancestors and with CAP_SYS_PTRACE only", "sudo gencore dump --ptrace 4711"),
        (2, "who has CAP_SYS_PTRACE only", "sudo gencore dump --ptrace 4711"),
        (3, "nobody", "arm it, which needs no tracing: gencore exec -- COMMAND"),
    ],
)
def test_yama_is_named_with_what_helps(scope, what, remedy):
    """Against the strictest value root has no remedy either, but to arm the process."""
    said = why_closed_by_yama(scope, "sudo gencore dump --ptrace 4711")

    assert said == (f"may be traced by {what}: kernel.yama.ptrace_scope is {scope}", remedy)


def test_the_scope_is_the_machines():
    """A kernel without Yama restricts nobody."""
    value = Path("/proc/sys/kernel/yama/ptrace_scope")

    assert yama_scope() == (int(value.read_text()) if value.exists() else 0)


def test_an_armed_process_is_its_agents(dump):
    """The agent knows what is excluded, and this backend does not."""
    script = "print('ready', flush=True); input()"
    command = [sys.executable, "-m", "gencore", "exec", "--", sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdout.readline()
        with pytest.raises(Unsupported, match="only its agent knows what is excluded"):
            dump(process.pid)
        process.communicate("\n")


@pytest.mark.parametrize("options", [{"content": "stacks"}, {"threads": "caller"}])
def test_what_needs_the_process_itself_is_unsupported(traced, dump, options):
    """With what to pass instead."""
    with traced("signals") as target, pytest.raises(Unsupported, match="Remedy: pass"):
        dump(target.pid, **options)


# -------------------------------------------------------------------- the way back, without ptrace


@pytest.mark.parametrize("arguments", [[], ["exit"]])
def test_a_frame_leads_back(build, arguments):
    """To registers, stack, signal mask and floating-point state; that of a child exits."""
    done = subprocess.run(
        [build("way_back", "-O2"), *arguments], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == ((0, "") if arguments else (3, "back\n"))
