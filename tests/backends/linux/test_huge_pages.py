"""Memory that is collapsed into huge pages before a dump: what changes, and what does not."""

import json
import platform
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import gencore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="huge pages are Linux's")

BEGINNING = """
import ctypes, hashlib, json, mmap, os, re, sys, threading
import gencore
from gencore_backends.linux import _native
from gencore_backends.linux.huge_pages import collapse_memory

MIB = 1 << 20
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

def filled(mib, flags=PRIVATE):
    memory = mmap.mmap(-1, mib * MIB, flags=flags)
    for at in range(0, len(memory), 4096):
        memory[at:at + 8] = at.to_bytes(8, "little")
    return memory

def address(memory):
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))

def huge_in(memory):
    return huge_at(address(memory), len(memory))

def huge_at(start, size):
    "Bytes in huge pages of any kind, in the mappings that are a part of it."
    total, inside = 0, False
    for line in open("/proc/self/smaps"):
        if place := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
            first, last = (int(part, 16) for part in place.groups())
            inside = first < start + size and start < last
        elif inside and re.match("AnonHugePages|ShmemPmdMapped|FilePmdMapped", line):
            total += int(line.split()[1]) * 1024
    return total

def say(value):
    print(json.dumps(value), flush=True)

def collapse(**limits):
    "Collapse; go on where a step took long, or had no memory, on a busy machine."
    for _ in range(20):
        found = collapse_memory(**{"stall": 5.0, **limits})
        if not found.stopped or "had no huge page" not in found.stopped:
            return found
"""
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def _supported():
    """Skip where the kernel collapses nothing on request."""
    said = run_program("say(collapse_memory().stopped)")[0]
    if said is not None and re.search("kernel collapses none|pages of 4 KiB", said):
        pytest.skip(said)


def run_program(code):
    """Return what a program says that has BEGINNING in front of it."""
    command = [sys.executable, "-c", BEGINNING + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def running(code):
    """Run such a program, until it has said something and its standard input ends."""
    command = [sys.executable, "-c", BEGINNING + code + "\nsay('ready'); sys.stdin.read()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline()) == "ready"
        yield process


def test_memory_is_in_huge_pages_and_has_the_same_content():
    """Nearly all of it, as the kernel counts, and so says the outcome."""
    same, huge, collapsed, again = run_program("""
memory = filled(64)
before = hashlib.sha256(memory).digest()
found = collapse()
say(hashlib.sha256(memory).digest() == before)
say(huge_in(memory))
say(found.collapsed)
say(collapse().already)
""")

    assert same
    assert 60 * MIB <= huge <= collapsed
    assert again >= collapsed


def test_memory_of_files_and_shared_memory_stay_as_they_are(tmp_path):
    """Shared memory at an address at which it could be collapsed, and written pages of a file."""
    (tmp_path / "file").write_bytes(bytes(8 * MIB))
    shared, of_file = run_program(f"""
libc = ctypes.CDLL(None)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mmap.restype = ctypes.c_void_p
shared = libc.mmap(0x5F0000000000, 8 * MIB, 3, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)
ctypes.memset(shared, 1, 8 * MIB)
file = os.open({str(tmp_path / "file")!r}, os.O_RDWR)
written = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE)
for at in range(0, len(written), 4096):
    written[at] = 1
collapse()
say(huge_at(shared, 8 * MIB))
say(huge_in(written))
""")

    assert (shared, of_file) == (0, 0)


def test_what_threads_write_meanwhile_is_not_lost():
    """Each counts in every page of its part, until everything is collapsed."""
    counted, written, huge = run_program("""
memory = filled(64)
done, rounds = threading.Event(), [0, 0]
def count(number):
    places = range(number * 4096 + 16, len(memory), 2 * 4096)
    while not done.is_set():
        for at in places:
            memory[at] = (memory[at] + 1) % 256
        rounds[number] += 1
threads = [threading.Thread(target=count, args=(number,)) for number in (0, 1)]
for thread in threads:
    thread.start()
collapse()
done.set()
for thread in threads:
    thread.join()
say([count % 256 for count in rounds])
say([sorted(set(memory[number * 4096 + 16::2 * 4096])) for number in (0, 1)])
say(huge_in(memory))
""")

    assert written == [[count] for count in counted]
    assert huge >= 60 * MIB


def test_memory_that_is_mostly_absent_stays_so():
    """What was reserved only, or is half full, takes no more memory afterwards.

    To look at each of 16 TiB would take longer than there is time for.
    """
    stopped, huge, resident = run_program("""
half = mmap.mmap(-1, 32 * MIB, flags=PRIVATE)
for at in range(0, len(half), 2 * 4096):
    half[at] = 1
reserved = mmap.mmap(-1, 16 * MIB * MIB, flags=PRIVATE | 0x4000)  # MAP_NORESERVE
reserved[len(reserved) // 2] = 1
before = int(open("/proc/self/statm").read().split()[1])
say(collapse().stopped)
say(huge_in(half) + huge_in(reserved))
say((int(open("/proc/self/statm").read().split()[1]) - before) * 4096)
""")

    assert stopped is None
    assert huge == 0
    assert resident < 8 * MIB


def test_a_step_that_takes_too_long_is_the_last():
    """With a limit that every step exceeds. The next call goes on where it stopped."""
    first, second = run_program("""
memory = filled(16)
for _ in range(2):
    found = collapse_memory(stall=0.0)
    say([found.steps, found.stopped])
""")

    assert first[0] == second[0] == 1
    assert re.fullmatch(r"step 1 took \d+ ms", first[1])


def test_nothing_is_collapsed_where_the_process_may_not_grow():
    """As little as a step needs for the moment."""
    (row,) = run_program("memory = filled(16); say(_native.collapse(10000, 5000, 1 << 20))")

    assert row[4] == 0
    assert row[7] == "memory"


def test_a_cgroup_is_not_filled_up(tmp_path, cgroup):
    """An agent leaves the memory small where its cgroup has little left, and it is dumped so."""
    with running("memory = filled(64); gencore.arm()") as armed:
        cgroup(armed.pid, 40 * MIB)  # what was charged before counts elsewhere
        report = gencore.Pipeline(
            target=armed.pid, collectors=["manifest"], directory=tmp_path, huge_pages=True
        ).run()

    assert report.result == "complete"
    assert report.huge_pages.collapsed == 0
    assert report.huge_pages.stopped == "too little memory is free after step 0"


def test_the_cgroup_of_who_asks_is_not_that_of_the_process(cgroup):
    """An operator in a small container has the memory of a large process collapsed."""
    asks = """
from gencore.target import Target
from gencore_backends.linux.huge_pages import collapse_memory_of
print(sys.stdin.readline(), end="", flush=True)
say(collapse_memory_of(Target(int(sys.stdin.readline()))).steps)
"""
    command = [sys.executable, "-c", BEGINNING + asks]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        running("memory = filled(64); gencore.arm()") as armed,
        subprocess.Popen(command, **pipes) as asking,
    ):
        asking.stdin.write("begun\n")
        asking.stdin.flush()
        assert asking.stdout.readline() == "begun\n"
        cgroup(asking.pid, 40 * MIB)
        steps = json.loads(asking.communicate(f"{armed.pid}\n")[0])

    assert steps > 0


def test_it_ends_when_its_time_is_over():
    """With no time at all, before the first step."""
    (said,) = run_program(
        "memory = filled(16); f = collapse_memory(total=0); say([f.steps, f.stopped])"
    )

    assert said == [0, "its time was over after step 0"]


def test_a_signal_handler_that_raises_ends_it():
    """Ctrl-C is not made to wait for the end."""
    (said,) = run_program("""
import signal
memory = filled(64)
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while True:
        collapse_memory()
except KeyboardInterrupt:
    say("interrupted")
""")

    assert said == "interrupted"


def test_a_process_that_may_have_no_huge_pages_is_dumped_and_says_why(tmp_path):
    """PR_SET_THP_DISABLE: the outcome has the reason, and the report warns."""
    stopped, result, warnings = run_program(f"""
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
pipeline = gencore.Pipeline(collectors=["manifest"], directory={str(tmp_path)!r})
say(pipeline.prepare(huge_pages=True).stopped)
report = pipeline.run()
say(report.result)
say(report.warnings)
""")

    assert "PR_SET_THP_DISABLE" in stopped
    assert result == "complete"
    assert [stopped in warning for warning in warnings] == [True]


def test_a_process_that_has_only_advised_huge_pages_collapses_its_memory():
    """PR_THP_DISABLE_EXCEPT_ADVISED: who asks for one is given one."""
    refused, stopped, huge = run_program("""
say(ctypes.CDLL(None).prctl(41, 1, 1 << 1, 0, 0))
memory = filled(16)
say(collapse().stopped)
say(huge_in(memory))
""")
    if refused:
        pytest.skip("Linux 6.18 and later know that")

    assert (stopped, huge >= 12 * MIB) == (None, True)


def test_memory_that_the_program_keeps_in_small_pages_is_told():
    """MADV_NOHUGEPAGE: it stays as it is, the other memory does not."""
    stopped, kept, other = run_program("""
memory = [filled(16), filled(16)]
libc = ctypes.CDLL(None)
assert libc.madvise(ctypes.c_void_p(address(memory[0])), ctypes.c_size_t(16 * MIB), 15) == 0
say(collapse().stopped)
say(huge_in(memory[0]))
say(huge_in(memory[1]))
""")

    assert "MADV_NOHUGEPAGE" in stopped
    assert kept == 0
    assert other >= 12 * MIB


def test_a_child_that_is_forked_meanwhile_has_no_descriptor_of_it():
    """Whatever thread forks, and though the child never ends in exec."""
    (codes,) = run_program("""
import warnings
warnings.simplefilter("ignore")  # of threads
def maps():
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += "pagemap" in os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # closed since
            pass
    return count
codes = []
while len(codes) < 3:
    memory = filled(128)
    collapsing = threading.Thread(target=collapse_memory, kwargs={"stall": 5.0})
    collapsing.start()
    while not (open_now := maps()) and collapsing.is_alive():
        pass
    if open_now:
        if not (child := os.fork()):
            os._exit(maps())
        codes.append(os.waitpid(child, 0)[1])
    collapsing.join()
say(codes)
""")

    assert set(codes) == {0}


def test_what_a_forked_child_shares_with_its_parent_stays_shared():
    """Only the child's own memory is collapsed: the other would be copied."""
    shared, huge, collapsed, own = run_program("""
memory = filled(32)
if (child := os.fork()):
    os.waitpid(child, 0)
    os._exit(0)
own = filled(32)
found = collapse()
say(found.shared)
say(huge_in(memory) if address(memory) + len(memory) != address(own) else 0)
say(found.collapsed)
say(huge_in(own))
""")

    assert shared >= 28 * MIB
    assert own >= 28 * MIB
    assert collapsed < 60 * MIB
    assert huge <= collapsed


def _status_of(report):
    manifest = next(artifact.path for artifact in report.artifacts if artifact.path)
    return json.loads(manifest.read_text())["status"]


def test_the_reports_of_a_prepared_pipeline_say_what_was_collapsed(tmp_path):
    """And so does the manifest."""
    outcome, reported = run_program(f"""
import attrs
memory = filled(16)
pipeline = gencore.Pipeline(collectors=["manifest"], directory={str(tmp_path)!r})
say(attrs.asdict(pipeline.prepare(huge_pages=True)))
say(pipeline.run().as_dict()["huge_pages"])
""")
    (manifest,) = tmp_path.iterdir()

    assert reported == outcome
    assert json.loads(manifest.read_text())["status"]["huge_pages"] == outcome


@pytest.mark.parametrize("where", ["process", "thread"])
def test_a_dump_that_was_asked_to_collapses_first(tmp_path, where):
    """Whoever makes it."""
    collector = '"manifest"' if where == "process" else "lambda: Nothing()"
    recorder, steps = run_program(f"""
class Nothing(gencore.Collector):
    name = "nothing"
    api_version = (1, 1)
    def finish(self, dump):
        with dump.create("nothing") as file:
            file.write(b"1")
memory = filled(16)
options = dict(collectors=[{collector}], directory={str(tmp_path)!r}, huge_pages=True)
report = gencore.start(**options).result()
say(report.recorder)
say(report.huge_pages.steps)
""")

    assert recorder == where
    assert steps > 0


def test_an_agent_collapses_the_memory_of_its_process(tmp_path):
    """If the dump asks for it; the program is the same afterwards, and says so itself."""
    code = "memory = filled(64); gencore.arm()"
    with running(code) as armed:
        plain = gencore.Pipeline(
            target=armed.pid, collectors=["manifest"], directory=tmp_path
        ).run()
        report = gencore.Pipeline(
            target=armed.pid, collectors=["manifest"], directory=tmp_path, huge_pages=True
        ).run()
        rollup = Path(f"/proc/{armed.pid}/smaps_rollup").read_text()
        huge = int(re.search(r"AnonHugePages: +(\d+)", rollup)[1]) * 1024

    assert (plain.huge_pages, report.result) == (None, "complete")
    assert report.huge_pages.collapsed > 0
    assert huge >= report.huge_pages.collapsed
    assert _status_of(report)["huge_pages"]["collapsed"] == report.huge_pages.collapsed


def test_a_pipeline_for_another_process_is_prepared_by_its_agent(tmp_path):
    """The reports of its dumps have the outcome, which is not that of this process."""
    with running("memory = filled(64); gencore.arm()") as armed:
        pipeline = gencore.Pipeline(target=armed.pid, collectors=["manifest"], directory=tmp_path)
        prepared = pipeline.prepare(huge_pages=True)
        report = pipeline.run()

    assert prepared.steps > 0
    assert report.huge_pages == prepared
    assert _status_of(report)["huge_pages"]["steps"] == prepared.steps


def test_a_process_without_an_agent_cannot_be_prepared():
    """The remedy says how it gets one."""
    with (
        running("") as other,
        pytest.raises(gencore.TargetUnavailable) as refused,
    ):
        gencore.Pipeline(target=other.pid, backend="linux-ptrace").prepare(huge_pages=True)

    assert "gencore exec" in refused.value.remedy


def test_an_agent_that_is_to_end_stops_collapsing():
    """Disarming, and os.fork(), wait for one step and not for all."""
    rows = run_program("""
from gencore.target import Target
from gencore_backends.linux.agent_client import ask_to_collapse
gencore.arm()
memory = filled(256)
answers = []
def ask():
    answers.append(ask_to_collapse(Target(os.getpid()), total=60, stall=60, room=1 << 40))
asking = threading.Thread(target=ask)
asking.start()
while not huge_in(memory):
    pass
gencore.disarm()
asking.join()
say(answers)
""")

    ((row,),) = rows
    assert row[7] == "interrupted"
    assert row[4] > 0


def test_an_agent_that_knows_nothing_of_huge_pages_is_no_error():
    """It closes the connection without an answer, as those of earlier versions do."""
    (said,) = run_program("""
import socket
from gencore.target import Target
from gencore_backends.linux.agent_client import Identity, ask_to_collapse
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(f"\\0gencore/{Identity.read(Target(os.getpid()))}")
listener.listen()
def refuse():
    connection, _ = listener.accept()
    connection.recv(100)
    connection.close()
threading.Thread(target=refuse).start()
say(ask_to_collapse(Target(os.getpid()), total=1, stall=1, room=0))
""")

    assert said is None


def test_doctor_says_what_huge_pages_would_bring():
    """How much of the private memory is in small pages, and the command."""
    with running("memory = filled(160); gencore.arm()") as armed:
        command = [sys.executable, "-m", "gencore", "doctor", "--json", "--pid", str(armed.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    checks = {row["name"]: row for row in json.loads(done.stdout)["checks"]}
    row = checks["small_pages_bytes"]

    assert row["state"] == "note"
    assert row["value"] >= 160 * MIB
    assert row["remedy"] == f"gencore dump --huge-pages {armed.pid}"


@pytest.mark.parametrize("options", [[], ["--quiet"]], ids=["usual", "quiet"])
def test_a_command_says_what_has_become_of_them(tmp_path, options):
    """In a line on standard error, unless it is to be quiet."""
    with running("memory = filled(16); gencore.arm()") as armed:
        asked = ["dump", "--huge-pages", "--collector", "raw", "-o", tmp_path, str(armed.pid)]
        command = [sys.executable, "-m", "gencore", *asked, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ("MiB collapsed in" in done.stderr) != bool(options)
    assert Path(done.stdout.strip()).name.endswith(".core")


def test_ptrace_does_not_collapse():
    """It says so before the dump."""
    with (
        running("") as other,
        pytest.raises(gencore.Unsupported, match="huge_pages=True is unsupported"),
    ):
        gencore.Pipeline(target=other.pid, backend="linux-ptrace", huge_pages=True).check()


def test_an_agent_stops_when_nobody_waits_for_it_any_more():
    """Who was not patient enough is answered at once, to dump without huge pages."""
    shares = run_program("""
from gencore.target import Target
from gencore_backends.linux import agent_client
gencore.arm()
target = Target(os.getpid())
limits = agent_client._COLLAPSE.pack(60 * 10**9, 60 * 10**9, 1 << 40)
for _ in range(5):  # on a busy machine it may be ready before this thread hangs up
    memory = filled(256)
    with agent_client._connect(target) as connection:
        connection.send(agent_client._packet(b"collapse", limits))
        while not huge_in(memory):
            pass
    agent_client.ask(target).close()
    say(huge_in(memory) / len(memory))
    memory.close()  # the next may be in one mapping with it, and would have its huge pages
""")

    assert 0 < min(shares) < 3 / 4


@pytest.mark.parametrize(
    "answer",
    [
        '{"huge_pages": "abc"}',
        '{"huge_pages": [1, 2, 3]}',
        '{"huge_pages": [1, 2, 3, 4, 5, 6, 7, ["x"], 0]}',
        '{"huge_pages": [1, 2, 3, 4, 5, 6, 7, "x", 99999999999999999999]}',
        '{"huge_pages": ["a", 2, 3, 4, 5, 6, 7, "stall", 0]}',
        '{"huge_pages": [NaN, 2, -3, 4, 5, 6, 7, null, 0]}',
        "[" * 9000,
    ],
    ids=["text", "few", "list", "errno", "no number", "negative", "deep"],
)
def test_what_is_no_outcome_is_taken_for_none(answer):
    """An agent may be any program of that user; the dump is made all the same."""
    assert _said_to(answer) is None


def test_a_reason_that_is_not_known_is_not_shown():
    """Of a later version, or made to be formatted."""
    row = [1, 2, 3, 4, 5, 6, 7, "{steps:>9999} \x1b[31m", 0]
    said = _said_to(json.dumps({"huge_pages": row}))

    assert said["stopped"] == "for a reason that this version does not know"


def _said_to(answer):
    """Return what comes of this answer of an agent."""
    (said,) = run_program(f"""
import attrs, socket
from gencore.target import Target
from gencore_backends.linux.agent_client import Identity
from gencore_backends.linux.huge_pages import collapse_memory_of
target = Target(os.getpid())
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(f"\\0gencore/{{Identity.read(target)}}")
listener.listen()
def answer():
    connection, _ = listener.accept()
    connection.recv(100)
    connection.send({answer!r}.encode())
    connection.close()
threading.Thread(target=answer).start()
found = collapse_memory_of(target)
say(found and attrs.asdict(found))
""")
    return said


def test_it_takes_no_longer_than_its_dump_may():
    """The time limit of a dump is that of what is done for it, too: here and by an agent."""
    said = run_program("""
from gencore.target import Target
from gencore_backends.linux import agent
from gencore_backends.linux.huge_pages import collapse_memory_of
gencore.arm()
memory = filled(64)
say(agent.collapse_memory(1e-9).stopped)
say(collapse_memory_of(Target(os.getpid()), 1e-9).stopped)
""")

    assert said == ["its time was over after step 0"] * 2


def test_a_filter_of_system_calls_is_named_as_such():
    """And not as a lack of huge pages."""
    (said,) = run_program(
        """
import struct
rows = [(0x20, 0, 0, 0), (0x15, 0, 3, NUMBER), (0x20, 0, 0, 32), (0x15, 0, 1, 25),
        (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]  # madvise(..., 25): EPERM
rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("rules", ctypes.c_void_p)]
program = Program(len(rows), ctypes.addressof(rules))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP
say(collapse_memory().stopped)
""".replace("NUMBER", "233" if platform.machine() == "aarch64" else "28")
    )

    assert said == "the system refuses to collapse memory (Operation not permitted)"
