"""Recorders that are stopped, killed or started in odd places, and targets that do not listen."""

import inspect
import json
import os
import socket
import subprocess
import sys
import threading

import children
import pytest

import gencore
from gencore._recorder.channel import Channel
from gencore._recorder.job import NoRecorder, plan_of
from gencore._recorder.process import _deliver, _have_environment_of_target, _sendable
from gencore._runtime.platform_agent import agent
from gencore._settings.sources import resolve_settings

pytestmark = [pytest.mark.recorder, pytest.mark.skipif(sys.platform != "linux", reason="Linux")]

BEGINNING = (
    inspect.getsource(children)
    + """
import ctypes, errno, gencore, glob, json, os, resource, signal, sys, time
from gencore._recorder import new_recorder, recording

def recorder_of(dump):
    while (pidfd := dump._stop.recorder.process.pidfd) < 0:  # until the clone has started it
        time.sleep(0.001)
    text = open(f"/proc/self/fdinfo/{pidfd}").read()
    return int(text.partition("Pid:")[2].split()[0])

def say(*values):
    os.write(answers, json.dumps(values).encode())

answers = int(sys.argv[1])
pipeline = gencore.Pipeline(collectors=["raw"], content="stacks")
"""
)
"""What programs begin with. They answer through a descriptor, whatever they close."""


@pytest.fixture
def answer_of(tmp_path):
    """Return a function that runs a program and returns what it says."""

    def run(text):
        reader, writer = os.pipe()
        command = [sys.executable, "-c", BEGINNING + text, str(writer)]
        process = subprocess.Popen(command, cwd=tmp_path, pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as answers:
            said = answers.read()
        process.wait()
        return json.loads(said)

    return run


def test_a_recorder_that_is_stopped_holds_up_nobody_for_ever(answer_of):
    """It is killed some time after the dump's own limit, and the report says which that was."""
    result, error, ended, left = answer_of("""
import select
recording._GRACE = 0.1
dump = gencore.start(collectors=["raw"], timeout=1)
recorder = os.dup(dump._stop.recorder.process.pidfd)
signal.pidfd_send_signal(recorder, signal.SIGSTOP)
report = dump.result(50)
error = type(report.failed[0].error).__name__
say(report.result, error, select.select([recorder], [], [], 50)[0] == [recorder], children())
""")
    assert (result, error) == ("failed", "TimedOut")
    assert (ended, left) == (True, [])


def test_a_recorder_that_is_stopped_can_be_cancelled(answer_of):
    """Its dump ends as cancelled, without its answer."""
    assert answer_of("""
recording._GRACE = recording._ANSWER_LIMIT = 0.1
dump = pipeline.start()
os.kill(recorder_of(dump), signal.SIGSTOP)
cancelled = dump.cancel()
try:
    dump.result(50)
except recording.CancelledError:
    say(cancelled, dump.cancelled(), children())
""") == [True, True, []]


@pytest.mark.parametrize("timeout", [None, 1])
def test_a_clone_that_is_stopped_is_ended_with_its_dump(answer_of, timeout):
    """Without a time limit it is waited for, as who has stopped it may let it go on."""
    failed, left = answer_of(f"""
memory = os.urandom(1 << 20) * 64
dump = gencore.start(collectors=["raw"], content="private", timeout={timeout})
os.kill(children()[0], signal.SIGSTOP)
if {timeout} is None:
    dump.cancel()
try:
    error = dump.result(50).failed[0].error
except recording.CancelledError as cancelled:
    error = cancelled
say(type(error).__name__, children())
""")
    assert failed == ("CancelledError" if timeout is None else "TimedOut")
    assert left == []


def test_a_task_that_is_cancelled_waits_for_no_answer(answer_of):
    """The loop goes on although the recorder is stopped, and the dump ends as cancelled."""
    assert answer_of("""
import asyncio
recording._GRACE = 0.1
recording._Answer.wait = lambda _: say("the loop was held up")

async def main():
    dump = pipeline.start()
    os.kill(recorder_of(dump), signal.SIGSTOP)
    async def wait():
        await dump
    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    try:
        dump.result(50)
    except recording.CancelledError:
        say(task.cancelled(), dump.cancelled())

asyncio.run(main())
""") == [True, True]


def test_a_recorder_that_does_not_become_ready_is_killed(answer_of):
    """The dump is made on a thread, and no process is left."""
    recorder, reason, left = answer_of("""
import select
from gencore._runtime.platform_agent import agent
from gencore._settings.sources import resolve_settings
spawn, started = agent().spawn, []

def spawn_and_stop(program, pidfds):
    spawn(program, pidfds)
    started.append(os.dup(pidfds[0]))
    signal.pidfd_send_signal(started[0], signal.SIGSTOP)

agent().spawn = spawn_and_stop
new_recorder._GONE_LIMIT = 0.1
new_recorder._READY_LIMIT = 0.2
report = pipeline.run()
ended = select.select(started, [], [], 50)[0]
say(report.recorder, report.recorder_reason, started != ended)
""")
    assert (recorder, reason) == ("thread", "the recorder was not ready after 0.2 s")
    assert left is False


def test_a_subreaper_reaps_its_recorders(answer_of):
    """Like the first process of a container, whose children they become."""
    assert answer_of("""
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
pipeline.prepare()
say(*[pipeline.run().recorder for _ in range(2)], children())
""") == ["process", "process", []]


def channels():
    """Return two connected ends."""
    return [
        Channel(end.detach()) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ]


def test_a_report_reaches_a_target_that_has_read_nothing_for_long():
    """The last message is sent again until there is room, or the target has ended."""
    ours, theirs = channels()
    os.set_blocking(theirs.fileno(), False)
    refused = threading.Event()
    count = 0
    try:
        while True:
            theirs.send("event", bytes(1 << 14))
            count += 1
    except BlockingIOError:
        pass

    class Watched:
        def send(self, *message):
            try:
                theirs.send(*message)
            except BlockingIOError:
                refused.set()
                raise

    thread = threading.Thread(target=_deliver, args=(Watched(), os.getpid(), "report", 1))
    thread.start()
    assert refused.wait(50)
    kinds = [ours.receive().kind for _ in range(count + 1)]
    thread.join()
    ours.close()
    theirs.close()

    assert kinds == ["event"] * count + ["report"]


def test_what_is_no_message_is_an_error_of_the_channel():
    """Whatever is written to it: nothing else is raised by those who wait for a message."""
    ours, theirs = channels()
    os.write(theirs.fileno(), b"hello\n")
    with pytest.raises(OSError, match="Bad message"):
        ours.receive()
    ours.close()
    theirs.close()


def test_no_descriptor_of_a_dump_is_a_standard_stream(answer_of):
    """What a program writes to its closed output gets into neither a message nor a core."""
    open_ones, result, recorder = answer_of("""
for stream in range(3):
    os.close(stream)

dump = pipeline.start()
seen = [name for name in ("0", "1", "2") if os.path.lexists(f"/proc/self/fd/{name}")]
report = dump.result()
say(seen, report.result, report.recorder)
""")
    assert open_ones == []
    assert (result, recorder) == ("complete", "process")


def test_an_exception_of_a_signal_handler_loses_no_recorder(answer_of):
    """It is in a list before the handler can run, and so can be let go of."""
    assert answer_of("""
from gencore._runtime.platform_agent import agent

class Interrupted(Exception):
    pass

def interrupt(*_):
    raise Interrupted

def spawn_interrupted():
    # Return what was started by a call that a handler has interrupted, or nothing: try again.
    started, returned = [], False
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0001)
        agent().spawn(([b"/bin/true"], [], [], nothing), started)
        returned = True
        while True:
            pass
    except Interrupted:
        return [] if returned else started

nothing = os.open(os.devnull, os.O_RDONLY)
signal.signal(signal.SIGALRM, interrupt)
say(any(spawn_interrupted() for _ in range(100)))
""") == [True]


def test_a_child_forked_while_a_recorder_loads_has_nothing_of_it(answer_of):
    """Neither its socket nor its pidfd, which a worker would keep for its whole life."""
    assert answer_of("""
expect = new_recorder.NewRecorder.expect
before = set(os.listdir("/proc/self/fd"))

def fork_and_expect(recorder, kind):
    if not os.fork():
        say(sorted(set(os.listdir("/proc/self/fd")) - before))
        os._exit(0)
    os.wait()
    return expect(recorder, kind)

new_recorder.NewRecorder.expect = fork_and_expect
pipeline.run()
""") == [[]]


def test_a_recorder_that_the_clone_cannot_start_is_what_the_dump_reports(answer_of):
    """Of a prepared pipeline it starts it: here the interpreter is gone by then."""
    result, reason, left = answer_of("""
from gencore_backends.linux.capture import Capture
take = Capture.take

def take_for_nobody(self, request, channel, program, facts):
    take(self, request, channel, ([b"/nonesuch"], *program[1:]), facts)

Capture.take = take_for_nobody
pipeline.prepare()
report = pipeline.run()
say(report.result, report.failed[0].reason, children())
""")
    assert (result, left) == ("failed", [])
    assert reason == "no process can be started: No such file or directory"


@pytest.mark.parametrize("killed", [False, True])
def test_a_recorder_whose_pidfd_finds_no_room_is_followed_all_the_same(answer_of, killed):
    """The kernel leaves it out of the clone's packet then; a recorder's end ends its channel."""
    result, pidfd, reasons, left = answer_of(f"""
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
start_thread, clones = recording.OsThread, []

def start_without_room(follow, name):
    clones.extend(children())
    follow.__self__.recorder.close_its_end()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        while True:
            os.dup(0)
    except OSError:
        return start_thread(follow, name)

recording.OsThread = start_without_room
pipeline.prepare()
dump = pipeline.start()
recorder = dump._stop.recorder.process
while not recorder.is_started and not dump.done():
    time.sleep(0.001)
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
if {killed}:
    os.kill(clones[0], signal.SIGSTOP)  # or nobody would know what it has started
    (started,) = children(clones[0])
    os.kill(started, signal.SIGKILL)
report = dump.result()
say(report.result, recorder.pidfd, [part.reason for part in report.failed], children())
""")
    assert (pidfd, left) == (-1, [])
    assert result == ("failed" if killed else "complete")
    assert [reason for reason in reasons if "recorder ended" not in reason] == []


@pytest.mark.parametrize("prepared", [False, True])
def test_a_program_that_cannot_be_executed_leaves_no_zombie_to_a_subreaper(answer_of, prepared):
    """Who tried to start it reaps it: here the application itself, or a clone."""
    raised, left = answer_of(f"""
from gencore._runtime.platform_agent import agent
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
if {prepared}:
    pipeline.prepare()
new_recorder.command_of = lambda _: [b"/nonesuch"]
report = pipeline.run()
reasons = [report.recorder_reason, *(part.reason for part in report.failed)]
say(next(filter(None, reasons)), children())
""")
    assert raised == "no process can be started: No such file or directory"
    assert left == []


def test_a_recorder_that_stands_still_before_it_is_ready_is_given_up(answer_of):
    """Neither the dump nor the program's exit waits for it for ever."""
    result, reason, left = answer_of("""
recording._PATIENCE = 0.1
pipeline.prepare()
new_recorder.command_of = lambda _: [b"/bin/sleep", b"1000"]
report = pipeline.run()
say(report.result, report.failed[0].reason, children())
""")
    assert (result, left) == ("failed", [])
    assert "not ready in time" in reason


def test_plug_ins_in_a_recorder_find_the_environment_of_the_target(monkeypatch):
    """Not what a recorder is started without, or with beside."""
    for variable in ("GENCORE_ARM", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.setenv(variable, "another")  # both are put back

    _have_environment_of_target({"GENCORE_ARM": "1", "MALLOC_TRIM_THRESHOLD_": None})

    assert os.environ["GENCORE_ARM"] == "1"
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


def test_a_thread_that_does_not_say_its_name_costs_no_dump(answer_of):
    """Its class is the application's: it may raise, and return what JSON does not know."""
    assert answer_of("""
import threading

class Nameless(threading.Thread):
    @property
    def name(self):
        raise RuntimeError("no name")

    daemon = property(lambda self: self)

end = threading.Event()
thread = threading.Thread(target=end.wait, daemon=True)
thread.start()
thread.__class__ = Nameless
report = pipeline.run()
end.set()
say(report.result, report.recorder)
""") == ["complete", "process"]


def test_a_process_whose_next_child_begins_a_pid_namespace_is_not_cloned(answer_of):
    """The clone's end would keep the application from ever starting a process."""
    said = answer_of("""
CLONE_NEWPID, CLONE_NEWUSER = 0x20000000, 0x10000000
pipeline.prepare()
if ctypes.CDLL(None).unshare(CLONE_NEWPID if os.geteuid() == 0 else CLONE_NEWPID | CLONE_NEWUSER):
    say("not permitted")
    sys.exit()
try:
    pipeline.run()
    refused = False
except gencore.Refused:
    refused = True
child = os.fork()
if child:
    os.waitpid(child, 0)
    say(refused)
else:
    os._exit(0)
""")
    if said == ["not permitted"]:
        pytest.skip("no PID namespaces here")
    assert said == [True]


def test_a_prepared_pipeline_has_looked_for_the_stacks_already(answer_of):
    """It needs no descriptors for that later, and says what a process without them lacks."""
    error, remedy = answer_of("""
pipeline.prepare()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
kept = []
try:
    while True:
        kept.append(os.dup(0))
except OSError:
    for number in kept[-3:]:
        os.close(number)
try:
    pipeline.run()
except BaseException as raised:
    say(type(raised).__name__, getattr(raised, "remedy", None))
""")
    assert error == "CoreFailed"
    assert "ulimit -n" in remedy


def test_a_recorder_that_may_open_no_pidfd_makes_the_dump(answer_of):
    """A container's seccomp filter may refuse what is newer than itself: to the recorder, too."""
    said = answer_of("""
import struct
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PIDFD_OPEN = 38, 22, 2, 434
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN, EPERM, ALLOW = 0x20, 0x15, 6, 0x50001, 0x7fff0000
rows = (LOAD_NUMBER, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, PIDFD_OPEN), (RETURN, 0, 0, EPERM)
code = b"".join(struct.pack("=HBBI", *row) for row in (*rows, (RETURN, 0, 0, ALLOW)))
rules = ctypes.create_string_buffer(code)
filters = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(rules))
prctl = ctypes.CDLL(None).prctl
if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filters):
    say("no seccomp")
    sys.exit()
reports = [pipeline.run()]
pipeline.prepare()
reports.append(pipeline.run())
say(*((report.result, report.recorder) for report in reports))
""")
    if said == ["no seccomp"]:
        pytest.skip("no seccomp here")
    assert said == [["complete", "process"]] * 2


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("prepared", [False, True])
def test_an_interrupt_behind_the_capture_leaves_no_recorder(answer_of, prepared, begun):
    """Ctrl-C before anybody follows it: no process and no descriptor is left, and no file."""
    raised, left, files = answer_of(f"""
if {prepared}:
    pipeline.prepare()
pipeline.run()
for name in os.listdir("."):
    os.unlink(name)

def interrupt(recording, began):
    if {begun}:
        recording.recorder.process.receive(60)
    raise KeyboardInterrupt

before, recording.Recording.start = os.listdir("/proc/self/fd"), interrupt
try:
    pipeline.start()
    raised = False
except KeyboardInterrupt:
    raised = True
after = os.listdir("/proc/self/fd")
say(raised, [children(), sorted(set(after) - set(before))], os.listdir("."))
""")
    assert raised
    assert left == [[], []]
    assert files == []


def test_a_limit_on_the_size_of_files_costs_no_dump(answer_of):
    """What a recorder is told is in a file in memory, for which the limit holds."""
    result, recorder, reason = answer_of("""
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
report = pipeline.run()
say(report.result, report.recorder, report.recorder_reason)
""")
    assert (result, recorder) == ("complete", "thread")
    assert "ulimit -f" in reason


def test_a_recorder_is_an_ordinary_process_that_may_run_anywhere(answer_of):
    """Although its target is a real-time process, or runs on one processor only."""
    said = answer_of("""
everywhere = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(everywhere)})
try:
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
except PermissionError:
    pass
dump = pipeline.start()
recorder = recorder_of(dump)
policy, place = os.sched_getscheduler(recorder), os.sched_getaffinity(recorder)
dump.result()
say(policy == os.SCHED_OTHER, place >= everywhere)
""")
    assert said == [True, True]


def test_a_clone_that_cannot_be_handed_over_is_ended(tmp_path):
    """Here the channel is no socket: the step is named, and no child is left."""
    before = children.children()
    channel = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    own = os.pidfd_open(os.getpid())
    with pytest.raises(gencore.CoreFailed) as caught:
        agent().new_capture().take(gencore.DumpRequest(), channel, own, b"null")
    os.close(channel)
    os.close(own)

    assert caught.value.step == "hand-over"
    assert children.children() == before


NO_MEMORY = """
import _testcapi, json, os, socket
from gencore_backends.linux import _native

order = "full", (), False, False, "caller", 250
own = os.pidfd_open(os.getpid())
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
there.setblocking(False)
core = os.open("core", os.O_CREAT | os.O_RDWR)
_native.find_python()
descriptors = sorted(os.listdir("/proc/self/fd"))

def children():
    with open("/proc/thread-self/children") as file:
        return file.read().split()

def take(allocation):
    # Call with the one allocation failing; return whether it was one of the call's.
    taken = []
    failed = False
    _testcapi.set_nomemory(allocation, allocation + 1)
    try:
        CALL
    except MemoryError:
        failed = True
    finally:
        _testcapi.remove_mem_hooks()
    for _, pidfd, status_fd, *_ in taken:
        _native.end_clone(pidfd, status_fd, True)
    return failed

def sent():
    try:
        there.recv(1 << 16)
        return True
    except BlockingIOError:
        return False

allocation, left = 1, []
while take(allocation):
    left += children()
    told = sent()
    if told or sorted(os.listdir("/proc/self/fd")) != descriptors:
        left.append(allocation)
    allocation += 1
print(json.dumps([allocation, left]))
"""


@pytest.mark.parametrize(
    "call",
    [
        '_native.hand_over(here.fileno(), own, b"null", *order, taken)',
        "_native.snapshot_to_elf(core, *order, taken)",
    ],
    ids=["for a recorder", "for this process"],
)
def test_a_clone_that_there_is_no_memory_to_note_is_ended(python, call):
    """Whichever allocation fails: nothing is left, and the recorder is told of nothing."""
    allocations, left = python(NO_MEMORY.replace("CALL", call))

    assert allocations > 10
    assert left == []


def test_dumps_on_a_thread_are_counted_like_those_of_recorders(answer_of):
    """Their names have the number of the dump in this process."""
    assert answer_of("""
pipeline = gencore.Pipeline(collectors=["raw"], content="stacks", name="{seq}")
say(pipeline.run().name, pipeline.start_here("why").result().name)
""") == ["001", "002"]


@pytest.mark.parametrize("value", [{1: "a"}, [{"x": {None: 1}}]])
def test_options_that_json_would_change_are_not_described(value):
    """Their keys would be strings in the recorder, and something else in the target."""
    spec = gencore.CollectorSpec("raw", options={"rows": value})
    with pytest.raises(NoRecorder, match="keys that are no strings"):
        plan_of(resolve_settings({"collectors": [spec]}))


def test_an_error_that_the_target_cannot_load_is_sent_as_a_name_and_a_text():
    """Also one that derives from ours, and one of Python's with something of a plug-in."""
    theirs = type("QuotaExceeded", (gencore.GencoreError,), {"__module__": "someones_plugin"})
    sys.modules["someones_plugin"] = module = type(sys)("someones_plugin")
    module.QuotaExceeded = theirs
    try:
        sent = [_sendable(theirs("no quota")), _sendable(ValueError(theirs("no quota")))]
    finally:
        del sys.modules["someones_plugin"]

    assert [type(error).__name__ for error in sent] == ["ForeignError", "ForeignError"]
    assert _sendable(gencore.TimedOut(3.0, "it")).seconds == 3.0
