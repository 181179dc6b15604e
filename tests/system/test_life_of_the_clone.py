"""The clone from its beginning to its end: what it takes along, whom it lives for, its words."""

import contextlib
import json
import os
import platform
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

import gencore
from gencore.corefile import CoreFile
from gencore.output import Output

if sys.platform != "linux":
    pytest.skip("the native part exists on Linux only", allow_module_level=True)

from gencore_backends.linux.child import Child
from gencore_backends.linux.elf import LinuxElf
from gencore_backends.linux.sigsegv import LinuxSigsegv

WALL = 0x40000000

HELD = """if True:
    import ctypes, json, os, signal, struct, sys
    import gencore
    from gencore.output import Output
    from gencore_backends.linux.elf import LinuxElf

    ballast = os.urandom(8 << 20)  # more than the pipe takes

    def hold(directory):
        '''Return the clone of this process: it waits for room in its pipe.'''
        with_pipe = LinuxElf().snapshot(
            gencore.DumpRequest(), Output(directory, "held"), to_file=False)
        with_pipe.pause_ended()
        with_pipe.core()
        return with_pipe

    def tell(value):
        print(json.dumps(value), flush=True)

    def refuse(number):
        '''Let a system call fail with EPERM from now on; classic BPF, seccomp(2).'''
        rules = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *r) for r in rules))
        program = struct.pack("=HxxxxxxQ", len(rules), ctypes.addressof(code))
        libc = ctypes.CDLL(None)
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
            sys.exit()
"""
VMSPLICE = {"x86_64": 278, "aarch64": 75}.get(platform.machine())
PIDFD_OPEN = 434


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a program with a clone that waits: (process, what it says)."""
    started = []

    def begin(code):
        command = [sys.executable, "-c", HELD + code, tmp_path]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        line = process.stdout.readline()
        return process, json.loads(line) if line else pytest.skip("not permitted here")

    yield begin
    for process in started:
        process.kill()
        process.communicate()


# --------------------------------------------------------------------------------- what it is


def test_the_clone_has_no_place_at_the_processors_that_the_service_was_given(start):
    """Not its real-time policy, its negative nice value, its processors, its I/O priority."""
    allowed = os.sched_getaffinity(0)
    _, seen = start("""
    ioprio_get, ioprio_set = {"x86_64": (252, 251), "aarch64": (31, 30)}[os.uname().machine]
    libc = ctypes.CDLL(None)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    except PermissionError:
        sys.exit()
    libc.syscall(ioprio_set, 1, 0, 1 << 13 | 4)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    def place(pid):
        return [
            os.sched_getscheduler(pid),
            os.getpriority(os.PRIO_PROCESS, pid),
            libc.syscall(ioprio_get, 1, pid) >> 13,
            sorted(os.sched_getaffinity(pid)),
        ]
    with hold(sys.argv[1]) as snapshot:
        tell([place(0), place(snapshot._child.pid)])
    """)
    own, clones = seen

    assert own == [os.SCHED_RR, -5, 1, [max(allowed)]]
    assert clones[:2] == [os.SCHED_OTHER, 0]
    assert clones[2] != 1
    assert set(clones[3]) == allowed


def test_what_is_below_ordinary_stays(start):
    """A clone of a background job must not run before others either."""
    _, nice = start("""
    os.nice(7)
    with hold(sys.argv[1]) as snapshot:
        tell(os.getpriority(os.PRIO_PROCESS, snapshot._child.pid))
    """)

    assert nice == 7


def test_the_clone_holds_three_descriptors_and_has_a_session_of_its_own(start):
    """Its core, its messages, its reader; a signal to the service's group does not reach it."""
    _, (links, session, own_session, group, own_group, oom) = start("""
    files = [open("/dev/null") for _ in range(50)]
    with hold(sys.argv[1]) as snapshot:
        pid = snapshot._child.pid
        folder = f"/proc/{pid}/fd"
        links = sorted(os.readlink(f"{folder}/{fd}").split(":")[0] for fd in os.listdir(folder))
        oom = open(f"/proc/{pid}/oom_score_adj").read().strip()
        tell([links, os.getsid(pid), os.getsid(0), os.getpgid(pid), os.getpgrp(), oom])
    """)

    kinds = [link.rpartition("/")[2] for link in links]
    assert kinds.count("anon_inode") == 1  # the reader's pidfd
    assert set(kinds) <= {"anon_inode", "pipe", "pagemap"}  # and what it works with itself
    assert session != own_session
    assert group != own_group
    assert oom == "1000"


# ------------------------------------------------------------------------------ whom it lives for


@pytest.mark.parametrize(
    "refused", [None, VMSPLICE, PIDFD_OPEN], ids=["as it is", "no vmsplice", "no pidfd_open"]
)
def test_the_clone_ends_with_its_reader_whoever_else_holds_the_pipe(start, refused):
    """A worker that was forked meanwhile holds the reading end, and lives on."""
    process, (clone, worker) = start(f"""
    if {refused}:
        refuse({refused})
    snapshot = hold(sys.argv[1])
    if (worker := os.fork()) == 0:
        signal.pause()
    tell([snapshot._child.pid, worker])
    sys.stdin.read()
    """)
    pidfd = os.pidfd_open(clone)
    process.kill()
    process.wait()

    ended = select.select([pidfd], [], [], 60)[0]
    held = Path(f"/proc/{worker}/fd").exists()
    os.close(pidfd)
    os.kill(worker, signal.SIGKILL)

    assert held
    assert ended


def test_a_forked_worker_does_not_keep_the_end_of_a_core_from_its_reader(tmp_path):
    """The clone dies; the pipe has no end, because somebody else may write to it too."""
    with Output(tmp_path, "dump") as output:
        taken = LinuxElf().snapshot(gencore.DumpRequest(), output, to_file=False)
        with taken as held:
            other = _open_pipe_of(held)
            held.pause_ended()
            core = held.core()
            chunks = iter(core)
            next(chunks)
            held.abort()
            core.wait()
            os.close(other)

    assert core.missing > 0
    assert "SIGKILL" in core.incomplete


def _open_pipe_of(held):
    """Open the end at which the clone writes into the pipe that the snapshot reads.

    The clone may be moving it, and closing others, meanwhile.
    """
    pipe = os.readlink(f"/proc/self/fd/{held._reader.fileno()}")
    while not held._child.ended(0):
        for descriptor in Path(f"/proc/{held._child.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(descriptor) == pipe:
                    return os.open(descriptor, os.O_WRONLY)
    raise AssertionError("the clone has ended without the pipe")


# ---------------------------------------------------------------------------- how its end is known


def _reap(pid):
    """Do what small init programs do to every child."""
    assert os.waitpid(pid, WALL)[0] == pid


@pytest.mark.parametrize("to_file", [False, True])
def test_a_core_is_whole_although_somebody_else_reaped_the_clone(tmp_path, to_file):
    """The clone says itself that it is done."""
    with Output(tmp_path, "dump") as output:
        taken = LinuxElf().snapshot(gencore.DumpRequest(), output, to_file=to_file)
        with taken as held:
            held.pause_ended()
            core = held.core()
            size = sum(map(len, core))
            _reap(held._child.pid)
            core.wait()

    assert (size, core.missing, core.incomplete) == (core.size, 0, None)


def test_a_kernels_core_is_whole_although_somebody_else_reaped_the_clone(tmp_path):
    """The file is as long as its headers promise."""
    with Output(tmp_path, "dump") as output:
        taken = LinuxSigsegv().snapshot(gencore.DumpRequest(), output, to_file=True)
        with taken as held:
            held.pause_ended()
            core = held.core()
            _reap(held._child.pid)
            core.wait()

    assert (core.missing, core.incomplete) == (0, None)


def test_a_clone_that_others_reaped_before_it_was_done_failed_for_an_unknown_cause(tmp_path):
    """And is not called complete, nor ended by whatever."""
    with Output(tmp_path, "dump") as output:
        taken = LinuxElf().snapshot(gencore.DumpRequest(), output, to_file=False)
        with taken as held:
            held.pause_ended()
            core = held.core()
            held.abort()
            _reap(held._child.pid)
            core.wait()

    assert core.missing > 0
    assert "other code in the process reaped it" in core.incomplete


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGKILL, "out of memory"),
        (signal.SIGSYS, "seccomp"),
        (signal.SIGBUS, "SIGBUS"),
        (signal.SIGSEGV, "SIGSEGV"),
        (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_the_signal_that_ended_the_clone_is_named(number, text):
    """Only SIGKILL may mean that memory ran out."""
    code = f"ulimit -c 0; kill -{int(number)} $$"
    process = subprocess.Popen(["sh", "-c", code])
    reader, writer = os.pipe()
    os.close(writer)
    child = Child([(process.pid, os.pidfd_open(process.pid), reader, {}, [])])

    told = child.why_unfinished()
    child.close()
    process.wait()

    assert text in told
    assert ("out of memory" in told) == (number == signal.SIGKILL)


SECCOMP = """if True:
    import ctypes, json, os, resource, struct, sys
    import gencore

    def forbid(number):
        '''End the process that makes this system call, from now on; classic BPF, seccomp(2).'''
        rules = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 1 << 31), (6, 0, 0, 0x7fff0000)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *r) for r in rules))
        program = struct.pack("=HxxxxxxQ", len(rules), ctypes.addressof(code))
        libc = ctypes.CDLL(None)
        return libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0)

    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    number = {"x86_64": {"vmsplice": 278, "setsid": 112},
              "aarch64": {"vmsplice": 75, "setsid": 157}}[os.uname().machine][sys.argv[2]]
    if forbid(number):
        raise SystemExit("no seccomp")
    try:
        report = gencore.start(
            directory=sys.argv[1], backend="linux-elf", collectors=["archive"]).result()
        told = "; ".join(part.reason for part in report.problems)
    except gencore.CoreFailed as error:
        told = str(error)
    print(json.dumps([told, os.listdir()]))
"""


@pytest.mark.parametrize(
    ("call", "step"), [("vmsplice", "write-core"), ("setsid", "leave-service")]
)
def test_a_clone_that_seccomp_kills_is_reported_with_its_step_and_leaves_no_core(
    python, core_pattern, tmp_path, call, step
):
    """The kernel's own core of the clone would be a crash of the service for whoever collects."""
    core_pattern("core")
    (tmp_path / "cwd").mkdir()
    told, left = python(SECCOMP, tmp_path, call, cwd=tmp_path / "cwd")

    assert "SIGSYS" in told
    assert "seccomp" in told
    assert "out of memory" not in told
    assert f"step {step!r}" in told
    assert left == []


# ------------------------------------------------------------------ what the target looks like


USERFAULTFD = """if True:
    import ctypes, fcntl, json, os, struct, sys
    import gencore
    from gencore_backends.linux.elf import LinuxElf
    from gencore_backends.linux.sigsegv import LinuxSigsegv

    number = {"x86_64": 323, "aarch64": 282}[os.uname().machine]
    descriptor = ctypes.CDLL(None).syscall(number, os.O_CLOEXEC)
    if descriptor >= 0 and sys.argv[2] == "far":
        descriptor, low = os.dup2(descriptor, 1000), descriptor
        os.close(low)
    try:
        fcntl.ioctl(descriptor, 0xC018AA3F, struct.pack("QQQ", 0xAA, int(sys.argv[1]), 0))
    except OSError:
        print(json.dumps(None))
    else:
        verdicts = [backend().probe(gencore.DumpRequest()) for backend in (LinuxElf, LinuxSigsegv)]
        print(json.dumps([[reason.text for reason in v.reasons] for v in verdicts]))
"""


@pytest.mark.parametrize("place", ["near", "far"])
@pytest.mark.parametrize("event_fork", [False, True])
def test_a_userfaultfd_that_reports_forks_is_refused_beforehand(python, event_fork, place):
    """A clone would wait for a thread that is stopped for it; any other userfaultfd is welcome.

    It is found wherever it is: few numbers are tried one by one, and the others listed.
    """
    verdicts = python(USERFAULTFD, 2 if event_fork else 0, place)
    if verdicts is None:
        pytest.skip("may not use userfaultfd")

    for reasons in verdicts:
        assert any("userfaultfd" in text for text in reasons) == event_fork


MAIN_ENDED = """if True:
    import ctypes, os, sys, threading
    import gencore

    def go_on():
        path = f"/proc/self/task/{os.getpid()}/stat"
        while open(path).read().rpartition(")")[2].split()[0] != "Z":
            pass
        report = gencore.start(directory=sys.argv[1], backend=sys.argv[2]).result()
        print(report.result, *(p.reason for p in report.problems), sep="; ", flush=True)
        os._exit(0)

    threading.Thread(target=go_on).start()
    ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_main_thread_has_ended_is_dumped_whole(tmp_path, backend):
    """/proc/self is that of the main thread: it has no program and no memory any more."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN_ENDED, tmp_path, backend],
        capture_output=True,
        text=True,
        check=True,
    )
    (bundle,) = tmp_path.glob("*.tar.gz")
    stacks = subprocess.run(
        [sys.executable, "-m", "gencore", "stacks", "--quiet", bundle],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "complete\n"
    assert stacks.returncode == 0
    assert "go_on" in stacks.stdout


# ------------------------------------------------------------------------------ not dumpable


UNDUMPABLE = """if True:
    import ctypes, json, os, sys, tempfile, threading
    import gencore
    from gencore_backends.linux.elf import LinuxElf
    from gencore_backends.linux.sigsegv import LinuxSigsegv

    libc = ctypes.CDLL(None)
    directory, how, backend = sys.argv[1:]
    backend = {"linux-elf": LinuxElf, "linux-sigsegv": LinuxSigsegv}[backend]()
    request = gencore.DumpRequest(allow_undumpable=True)
    with tempfile.TemporaryDirectory(dir=directory) as first:  # loads everything, as root
        gencore.start(directory=first, backend=backend, collectors=["raw"]).result()
    if how == "changed user":
        os.chmod(directory, 0o1777)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    else:
        libc.prctl(4, 0, 0, 0, 0)
    refused = [reason.text + "; " + reason.remedy
               for reason in backend.probe(gencore.DumpRequest()).reasons]
    with gencore.output.Output(directory, "dump") as output:
        with backend.snapshot(request, output, to_file=True) as snapshot:
            snapshot.pause_ended()
            core = snapshot.core()
            size = sum(map(len, core))
            core.wait()
            result = [core.incomplete, core.missing, size == core.size]
            threads = [thread.registers for thread in snapshot.threads]
    print(json.dumps([refused, list(backend.probe(request).reasons), result, threads,
                      libc.prctl(3, 0, 0, 0, 0), os.stat("/proc/self/mem").st_uid]))
"""


@pytest.mark.parametrize(
    ("how", "cause"),
    [("changed user", "changed its user"), ("asked for it", "PR_SET_DUMPABLE")],
)
def test_a_process_that_is_not_dumpable_is_dumped_if_that_is_allowed(
    python, tmp_path, backend, how, cause
):
    """Its verdict names the cause; the process itself stays as it is."""
    if os.getuid():
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="gencore-test-") as directory:
        refused, allowed, result, threads, dumpable, owner = python(
            UNDUMPABLE, directory, how, backend, cwd=tmp_path
        )

    assert len(refused) == 1
    assert cause in refused[0]
    assert "allow_undumpable=True" in refused[0]
    assert allowed == []
    assert result == [None, 0, True]
    assert threads[0] == "exact"
    assert dumpable == 0
    assert owner == 0


SET_USER_ID = """if True:
    import json, site, sys
    site.addsitedir(sys.argv[1])
    from gencore_backends.linux.dumpable import undumpable_reasons
    print(json.dumps([reason.text for reason in undumpable_reasons()]))
"""


def test_a_set_user_id_program_is_named_as_the_cause():
    """The kernel says so in the auxiliary vector (AT_SECURE)."""
    if os.getuid():
        pytest.skip("only root can give a program to another user")
    with tempfile.TemporaryDirectory(prefix="gencore-test-") as directory:
        os.chmod(directory, 0o755)  # noqa: PTH101
        program = Path(directory) / "python"
        program.write_bytes(Path(os.path.realpath(sys.executable)).read_bytes())
        program.chmod(0o4755)
        done = subprocess.run(
            [program, "-c", SET_USER_ID, sysconfig.get_path("purelib")],
            env={"PYTHONHOME": sys.base_prefix},
            user=65534,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        pytest.skip(f"the copy of Python does not run: {done.stderr[-200:]}")

    (text,) = json.loads(done.stdout)
    assert "set-user-ID" in text


# ------------------------------------------------------------------------------ Python's threads


THREADS = """if True:
    import ctypes, json, os, sys, threading
    import gencore

    current = ctypes.pythonapi.PyThreadState_Get
    current.restype = ctypes.c_void_p
    states, known, end = [current()], threading.Barrier(41), threading.Event()

    def wait():
        states.append(current())
        known.wait()
        end.wait()

    def come_and_go():
        while not end.is_set():
            for thread in [threading.Thread(target=int) for _ in range(5)]:
                thread.start()
                thread.join()

    for _ in range(40):
        threading.Thread(target=wait, daemon=True).start()
    known.wait()
    for _ in range(2):
        threading.Thread(target=come_and_go, daemon=True).start()
    cores = [str(gencore.create_core(directory=sys.argv[1], content="stacks", backend="linux-elf"))
             for _ in range(int(sys.argv[2]))]
    end.set()
    print(json.dumps([states, cores]), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("dumps", [1, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_every_thread_state_is_in_a_core_of_the_stacks(python, tmp_path, dumps):
    """Also while threads come and go: the list is followed where it stands still."""
    states, cores = python(THREADS, tmp_path, dumps)

    assert len(set(states)) == 41
    for path in cores:
        with CoreFile(path) as core:
            heads = [core._read(*core._place(state, 24)) for state in states]
        assert all(len(head) == 24 and any(head) for head in heads)
        assert len({head[16:] for head in heads}) == 1  # of one interpreter
