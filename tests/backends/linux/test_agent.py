"""The agent of an armed process: what its peers may do, and what its process does not notice."""

import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from children import children

import gencore
from gencore.target import Target
from gencore_backends.linux.agent_client import Identity, ask

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's")


class Program:
    """A process that runs lines of code as they are sent, and answers each with a value."""

    LOOP = """
import sys, json
for line in sys.stdin:
    try:
        code = json.loads(line)
        try:
            answer = eval(code)
        except SyntaxError:
            answer = exec(code)
    except BaseException as error:
        answer = repr(error)
    print(json.dumps(answer, default=repr), flush=True)
"""

    def __init__(self, interpreter, *options, env=None):
        self.process = subprocess.Popen(
            [interpreter, *options, "-c", self.LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.pid = self.process.pid

    def send(self, code):
        self.process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def run(self, code):
        self.send(code)
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()  # whatever child of it has the other end


@pytest.fixture
def program():
    """Return a function that starts one, armed by the code that a service would have."""
    started = []

    def start(interpreter=sys.executable, *options, arm=True, env=None):
        made = Program(interpreter, *options, env=env)
        started.append(made)
        if arm:
            assert made.run("import gencore, os; gencore.arm()") is None
        return made

    yield start
    for made in started:
        made.close()


def connect(pid):
    """Return a connection to the abstract socket of a process, as anybody can have one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"\0gencore/{Identity.read(Target(pid))}")
    except OSError:
        connection.close()
        raise
    connection.settimeout(20)
    return connection


def names_of(pid):
    """Return the sockets by which a process can be reached, as the kernel lists them."""
    rows = Path("/proc/net/unix").read_text().splitlines()
    return [row.split()[-1] for row in rows if re.search(rf"gencore.*[/-]{pid}[/-]", row)]


def dump(pid, directory, **options):
    report = gencore.Pipeline(target=pid, directory=directory, **options).run()
    assert report.result == "complete", report.problems
    return report


def test_disarm_leaves_nothing(program):
    """No thread, no socket, no file; and it can be armed again."""
    armed = program()
    before = names_of(armed.pid)
    assert len(before) == 2
    assert armed.run("len(os.listdir('/proc/self/task'))") == 2

    assert armed.run("gencore.disarm()") is None

    assert names_of(armed.pid) == []
    assert armed.run("len(os.listdir('/proc/self/task'))") == 1
    assert not any(Path(name).exists() for name in before if name.startswith("/"))
    assert armed.run("gencore.is_armed()") is False
    assert armed.run("gencore.arm(), gencore.arm(), gencore.is_armed()")[-1] is True


CLOSED = """
    os.closerange(3, 256)
    numbers = [os.open("/dev/null", os.O_RDWR) for _ in range(30)]
    link = lambda number: os.path.exists(f"/proc/self/fd/{number}") and os.readlink(
        f"/proc/self/fd/{number}")
    kept = lambda: [link(number) for number in numbers] == ["/dev/null"] * 30
"""
"""What a program does that becomes a daemon: it closes all descriptors, and opens others."""


def test_files_that_have_the_numbers_of_its_descriptors_stay_open(program):
    """Also in a forked child, when it is asked for something, and when it is disarmed."""
    armed = program()
    armed.run(CLOSED)
    with suppress(ConnectionRefusedError):  # if it has seen that already
        connect(armed.pid).close()
    in_child = armed.run("os.waitpid(p, 0)[1] if (p := os.fork()) else os._exit(not kept())")

    assert in_child == 0
    assert armed.run("kept()") is True
    assert armed.run("gencore.disarm()") is None
    assert armed.run("kept(), len(os.listdir('/proc/self/task'))") == [True, 1]


def test_what_has_lost_its_descriptors_is_armed_anew(program, tmp_path):
    """By another call, and with both of its names."""
    armed = program()
    armed.run(CLOSED)
    armed.run("gencore.arm()")

    assert armed.run("kept(), len(os.listdir('/proc/self/task'))") == [True, 2]
    assert len(names_of(armed.pid)) == 2
    dump(armed.pid, tmp_path, collectors=["raw"], content="stacks")


def test_an_agent_that_has_not_begun_when_it_is_armed_anew_ends(program):
    """It would wait for what the next one waits for: a program may close all files at once."""
    armed = program(arm=False)
    armed.run("import gencore, os")
    armed.run(f"""
for _ in range(500):
    gencore.arm()
    {CLOSED.strip()}
gencore.arm()
""")

    assert armed.run("kept(), len(os.listdir('/proc/self/task'))") == [True, 2]


def test_the_socket_goes_with_the_process(program):
    """An orderly end removes it; a killed process's is removed by the next one that arms."""
    left, killed = program(), program()
    files = [[n for n in names_of(one.pid) if n.startswith("/")] for one in (left, killed)]
    left.process.communicate()
    killed.close()

    assert not Path(files[0][0]).exists()
    assert Path(files[1][0]).exists()
    program()

    assert not Path(files[1][0]).exists()


def test_threading_does_not_list_it(program):
    """And all signals but the C library's own are blocked in it."""
    armed = program()
    assert armed.run("len(__import__('threading').enumerate())") == 1

    ask(Target(armed.pid)).close()  # it has set its name before it answers
    (tid,) = set(os.listdir(f"/proc/{armed.pid}/task")) - {str(armed.pid)}
    status = Path(f"/proc/{armed.pid}/task/{tid}/status").read_text()

    blocked = int(re.search(r"SigBlk:\t(\w+)", status)[1], 16)
    assert "Name:\tgencore-agent" in status
    assert ~blocked & (1 << 64) - 1 == sum(1 << n - 1 for n in (9, 19, 32, 33))


def at_rest(armed):
    """Wait until the agent of a program waits; return what the kernel says of its thread."""
    (tid,) = set(os.listdir(f"/proc/{armed.pid}/task")) - {str(armed.pid)}
    file = Path(f"/proc/{armed.pid}/task/{tid}/status")
    until_it_sleeps = select.poll()
    while "State:\tS" not in file.read_text():
        until_it_sleeps.poll(1)
    return file


def test_at_rest_it_does_not_wake_up(program):
    """For as long as nobody asks."""
    file = at_rest(program())

    def wakes():
        before = re.findall(r"switches:\t(\d+)", file.read_text())
        time.sleep(1)  # the time that is measured
        return re.findall(r"switches:\t(\d+)", file.read_text()) != before

    # Tests beside this one may list armed processes, and then it answers.
    assert not all(wakes() for _ in range(20))


def test_it_takes_little_memory(program):
    """Beside what loading the module takes."""
    armed = program(arm=False)
    size = "int(open('/proc/self/smaps_rollup').read().split('Rss:')[1].split()[0])"  # exact
    armed.run("import gencore, os, gencore_backends.linux.agent as agent")
    armed.run("agent.arm(b'{}'), agent.disarm()")
    armed.run(size)  # what the first look takes stays
    before = armed.run(size)

    armed.run("agent.arm(b'{}')")

    assert armed.run(size) - before < 200


@pytest.mark.parametrize(
    "packet",
    [b"", b"x", b"gencore\0" * 8, b"gencore\0" * 9, os.urandom(72), bytes(72), bytes(100_000)],
    ids=["empty", "byte", "short", "words", "noise", "zeros", "long"],
)
def test_garbage_is_refused(packet, program):
    """The connection ends, and the next client is served."""
    armed = program()

    with connect(armed.pid) as connection:
        connection.send(packet)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b""

    ask(Target(armed.pid)).close()


def descriptors_at_rest(armed):
    """Count those of a process, with what its agent keeps for a time of need.

    It has taken these before it answers a second time.
    """
    for _ in range(2):
        ask(Target(armed.pid)).close()
    return armed.run("len(os.listdir('/proc/self/fd'))")


def test_descriptors_of_a_wrong_request_are_closed(program):
    """As many as the kernel lets through."""
    armed = program()
    before = descriptors_at_rest(armed)

    for _ in range(20):
        with connect(armed.pid) as connection, Path(os.devnull).open() as file:
            socket.send_fds(connection, [b"x" * 72], [file.fileno()] * 20)
            connection.recv(1000)

    assert armed.run("len(os.listdir('/proc/self/fd'))") == before


def test_a_thousand_silent_clients_hold_up_nobody(program):
    """The oldest of them has to go; a request among them is answered."""
    armed = program()
    silent = [connect(armed.pid) for _ in range(1000)]

    ask(Target(armed.pid)).close()

    assert armed.run("len(os.listdir('/proc/self/fd'))") < 40
    for connection in silent:
        connection.close()


REQUEST = struct.Struct("=8sII16s32sII")


def request(action, what=b""):
    """Return a request as another program might send it."""
    return REQUEST.pack(b"gencore", 1, 250, action, what, 0, 0)


def mapped_at(pid, name):
    """Return where a file with such a name is mapped first, and its path."""
    rows = Path(f"/proc/{pid}/maps").read_text().splitlines()
    row = next(row for row in rows if name in row)
    return int(row.partition("-")[0], 16), row.split(maxsplit=5)[-1]


def part_of_file(pid, start, offset):
    """Ask for a part of a mapped file; return what is said of it, and its bytes."""
    with connect(pid) as connection:
        connection.send(request(b"file", struct.pack("=QQ", start, offset)))
        said = json.loads(connection.recv(1 << 16))
        return said, b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_mapped_file_comes_in_parts(program):
    """Of a megabyte each, and the last one with what is left."""
    armed = program()
    start, path = mapped_at(armed.pid, "libc.so.6")
    content = Path(path).read_bytes()

    parts = [part_of_file(armed.pid, start, at) for at in range(0, len(content), 1 << 20)]

    assert {said["size"] for said, _ in parts} == {len(content)}
    assert b"".join(part for _, part in parts) == content


@pytest.mark.parametrize("offset", [1, 4095, 1 << 40, (1 << 63) - 4096, (1 << 64) - 1])
def test_a_part_that_is_none_is_empty(offset, program):
    """Behind the end of the file, or within a page."""
    armed = program()
    start, _ = mapped_at(armed.pid, "libc.so.6")

    assert part_of_file(armed.pid, start, offset)[1] == b""
    ask(Target(armed.pid)).close()


def test_only_files_that_are_mapped_are_sent(program):
    """No memory, no device, no file of another name that was put into the place of one."""
    armed = program()
    heap, _ = mapped_at(armed.pid, "[heap]")
    armed.run("import mmap, tempfile; folder = tempfile.mkdtemp()")
    armed.run("file = open(f'{folder}/mapped-once', 'w+b'); file.write(bytes(4096)); file.flush()")
    armed.run("kept = mmap.mmap(file.fileno(), 4096); zeros = open('/dev/zero', 'r+b')")
    armed.run("zero = mmap.mmap(zeros.fileno(), 4096, mmap.MAP_PRIVATE)")
    replaced, _ = mapped_at(armed.pid, "mapped-once")
    device, _ = mapped_at(armed.pid, "/dev/zero")
    armed.run("os.unlink(f'{folder}/mapped-once')")
    armed.run("os.symlink('/etc/passwd', f'{folder}/mapped-once (deleted)')")

    for start in (heap, replaced, device, 0, 1 << 63):
        said, part = part_of_file(armed.pid, start, 0)
        assert ("errno" in said, part) == (True, b"")


def test_a_slow_client_holds_up_nobody_for_long(program):
    """It takes a packet now and then; the next one is answered all the same."""
    armed = program()
    start, _ = mapped_at(armed.pid, "libc.so.6")
    slow = connect(armed.pid)
    slow.send(request(b"file", struct.pack("=QQ", start, 0)))
    ended = threading.Event()

    def read_slowly():
        while not ended.wait(0.3) and slow.recv(1 << 16):
            pass

    reader = threading.Thread(target=read_slowly)
    reader.start()
    try:
        ask(Target(armed.pid), patience=8).close()
    finally:
        ended.set()
        reader.join()
        slow.close()


def test_a_client_that_dies_leaves_no_clone(program):
    """It has asked for a capture, and reads neither the answer nor the core."""
    armed = program()
    before = descriptors_at_rest(armed)
    died = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(died.pid)
    died.wait()
    for _ in range(10):
        reader, writer = os.pipe()
        with connect(armed.pid) as connection:
            wish = struct.pack("=16s16s", b"full", b"auto")
            socket.send_fds(connection, [request(b"capture", wish)], [writer, pidfd])
        os.close(writer)
        os.close(reader)
    os.close(pidfd)

    def left():
        ask(Target(armed.pid)).close()
        return children(armed.pid), armed.run("len(os.listdir('/proc/self/fd'))")

    end_by = time.monotonic() + 60
    while (found := left()) != ([], before) and time.monotonic() < end_by:
        time.sleep(0.01)

    assert found == ([], before)


def test_a_taken_name_makes_no_difference(program):
    """Whoever has it is not the process that is meant: the file is there."""
    taken = program(arm=False)
    squatter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    squatter.bind(f"\0gencore/{Identity.read(Target(taken.pid))}")
    squatter.listen()

    assert taken.run("import gencore, os; gencore.arm()") is None

    with ask(Target(taken.pid)) as answer:
        assert answer.values["pid"] == taken.pid
    squatter.close()


def test_without_a_directory_the_abstract_socket_is_there(program):
    """As with a file system that is read-only."""
    armed = program(arm=False)
    armed.run("import gencore, os, gencore_backends.linux.agent as agent")
    armed.run("agent._own_directory = lambda: None")

    assert armed.run("gencore.arm()") is None

    (name,) = names_of(armed.pid)
    assert name.startswith("@gencore/")
    ask(Target(armed.pid)).close()


def test_what_is_excluded_is_in_no_core(program, tmp_path):
    """Whether it was before the process was armed or after, and until it is released."""
    armed = program(arm=False)
    armed.run(
        """
        import gencore
        def secret(number):
            return bytearray(b"SECRET" + bytes([number]) + b"TERCES" * 10)
        secrets = [secret(number) for number in (101, 102, 103)]
        early = gencore.exclude(secrets[0])
        gencore.arm()
        late = gencore.exclude(secrets[1])
        gone = gencore.exclude(secrets[2])
        gone.release()
        """
    )

    core = dump(armed.pid, tmp_path, collectors=["raw"]).path_of("raw").read_bytes()

    found = [b"SECRET" + bytes([number]) + b"TERCES" in core for number in (101, 102, 103)]
    assert found == [False, False, True]


def test_annotations_are_those_of_the_process(program, tmp_path):
    """As it last set them; those of the dump come first."""
    armed = program()
    armed.run("gencore.annotate(tenant='acme', shard='7')")
    armed.run("gencore.annotate(shard='8')")

    report = dump(armed.pid, tmp_path, collectors=["manifest"], annotations={"tenant": "other"})

    manifest = json.loads(report.path_of("manifest").read_text())
    assert manifest["annotations"] == {"tenant": "other", "shard": "8"}


def test_two_ask_at_the_same_time(program, tmp_path):
    """And the process itself makes a third dump: each is whole."""
    armed = program()
    options = {"collectors": ["raw"], "name": "{id}"}
    armed.send(f"gencore.Pipeline(directory={str(tmp_path)!r}, **{options!r}).run().result")

    dumps = [
        gencore.Pipeline(target=armed.pid, directory=tmp_path, **options).start() for _ in range(2)
    ]

    assert [one.result(100).result for one in dumps] == ["complete", "complete"]
    assert armed.answer() == "complete"


def test_the_service_can_still_change_its_user(program):
    """Where all signals were blocked by the bare system call, this would wait for ever."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    armed = program()

    assert armed.run("os.setgid(12345), os.setuid(12345), os.getuid()")[-1] == 12345


def test_a_process_that_is_not_dumpable_says_so(program, tmp_path):
    """It is dumped if that is asked for."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    armed = program()
    armed.run("os.setgid(12345), os.setuid(12345)")

    with pytest.raises(gencore.TargetUnavailable, match="not dumpable"):
        gencore.Pipeline(target=armed.pid, directory=tmp_path).run()

    report = gencore.Pipeline(target=armed.pid, directory=tmp_path, allow_undumpable=True).run()
    assert report.result in {"complete", "partial"}


CHILDREN = {
    "os.fork": "os.fork()",
    "double fork": "os.fork() or (os._exit(0) if os.fork() else 0)",
    "fork of C": "__import__('ctypes').CDLL(None).fork()",
}


@pytest.mark.parametrize("fork", CHILDREN.values(), ids=CHILDREN)
def test_a_child_is_armed_and_its_parent_too(fork, program):
    """The child has an agent of its own, and nothing of its parent's."""
    armed = program()
    armed.run("read, write = os.pipe()")

    armed.run(
        f"""
        first = {fork}
        if first == 0:
            os.write(write, b"%d\\n" % os.getpid())
            import time
            time.sleep(1000)
        """
    )
    child = int(armed.run("os.read(read, 100).decode()"))

    try:
        for pid in (armed.pid, child):
            with ask(Target(pid)) as answer:
                assert answer.values["pid"] == pid
        assert len(names_of(child)) == 2
    finally:
        os.kill(child, 9)


def test_the_parents_socket_ends_with_it(program):
    """A child that lives on does not keep it open."""
    armed = program()
    identity = Identity.read(Target(armed.pid))
    armed.run("read, write = os.pipe()")
    armed.run("child = os.fork() or __import__('time').sleep(1000)")
    child = armed.run("child")
    while not names_of(child):  # it has closed what it inherited before it listens itself
        time.sleep(0.001)

    armed.close()

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with pytest.raises(ConnectionRefusedError):
        connection.connect(f"\0gencore/{identity}")
    connection.close()
    os.kill(child, 9)


UNKNOWN_PYTHON = """
from types import SimpleNamespace
from gencore_backends.linux import agent, _native
agent._native = SimpleNamespace(**{**vars(_native), "find_python": lambda: False})
import gencore
gencore.arm()
"""


def test_stacks_of_an_unknown_python_are_refused(program):
    """A core of stacks without them would be called complete."""
    armed = program(arm=False)
    assert armed.run(UNKNOWN_PYTHON) is None

    with pytest.raises(gencore.TargetUnavailable, match="keeps its stacks differently") as caught:
        gencore.Pipeline(target=armed.pid, content="stacks").start()
    assert caught.value.remedy == "pass content='private'"


def test_nobody_waits_for_the_clone(program, tmp_path):
    """No SIGCHLD, no child for waitpid(-1), and none that is left."""
    armed = program()
    armed.run(
        """
        import signal
        seen = []
        signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
        def wait():
            try:
                return os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return "none"
        """
    )
    dump(armed.pid, tmp_path, collectors=["raw"])

    assert armed.run("wait(), seen") == ["none", []]
    tasks = Path(f"/proc/{armed.pid}/task")
    end_by = time.monotonic() + 20
    while any((task / "children").read_text() for task in tasks.iterdir()):
        assert time.monotonic() < end_by
        time.sleep(0.01)
