"""A recorder that waits for the next dump of a prepared pipeline."""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.recorder, pytest.mark.skipif(sys.platform != "linux", reason="Linux")]

UNPREPARED = """
import ctypes, gc, gencore, json, os, signal, subprocess, sys, threading, time
from pathlib import Path
from gencore._runtime.os_thread import wait_for_all

def end(pid):
    while is_alive(pid):
        time.sleep(0.002)

def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def pid_of(recorder):
    text = Path(f"/proc/self/fdinfo/{recorder._pidfd[0]}").read_text()
    return int(text.partition("Pid:")[2].split()[0])

def standby():
    (waiting,) = pipeline._prepared.standby._waiting
    return waiting.recorder

def dump():
    running = pipeline.start()
    made_by = pid_of(running._stop.recorder) if running._stop.recorder._pidfd else 0
    return running.result().result, made_by

pipeline = gencore.Pipeline(collectors=["raw"], content="stacks", directory=os.getcwd())
"""

PIPELINE = (
    UNPREPARED
    + """
pipeline.prepare(standby=True)
first = pid_of(standby())
"""
)

RIGHTS = """
READ_ALL = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

def have_capabilities(permitted, inheritable=0):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    sets = permitted, permitted, inheritable
    halves = [number >> 32 * half & 0xFFFFFFFF for half in (0, 1) for number in sets]
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)(*halves)) == 0

def have_filter():
    code = (ctypes.c_uint64 * 1)(0x7FFF000000000006)  # BPF_RET, SECCOMP_RET_ALLOW
    program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(code))
    assert ctypes.CDLL(None).prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP

def have_landlock():
    # No device can be made any more; whatever is not permitted here cannot be moved either
    move, make_block, path_beneath = 1 << 13, 1 << 11, 1
    call = ctypes.CDLL(None, use_errno=True).syscall
    rules = call(444, (ctypes.c_uint64 * 1)(move | make_block), 8, 0)  # landlock_create_ruleset
    top = (ctypes.c_uint32 * 3)(move, 0, os.open("/", os.O_PATH))
    assert call(445, rules, path_beneath, top, 0) == 0  # landlock_add_rule
    assert call(446, rules, 0) == 0, ctypes.get_errno()  # landlock_restrict_self
    os.close(top[2])
    os.close(rules)
"""

NEEDS_LANDLOCK = pytest.mark.skipif(
    sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) < 2,
    reason="the kernel's Landlock has no rule for files that are moved, or it has none",
)


def wait_for_the_end_of(pid):
    """Wait until a process that is no child has ended."""
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_next_dump_is_made_by_the_recorder_that_waits(python):
    """Another one follows it, for the one after that."""
    first, dumps, left = python(
        PIPELINE
        + """
dumps = [dump()]
dumps.append([pid_of(standby()), *dump()])
print(json.dumps([first, dumps, pid_of(standby())]))
"""
    )

    (result, maker), (second, *last) = dumps
    assert (result, maker) == ("complete", first)
    assert last == ["complete", second]
    assert len({first, second, left}) == 3


@pytest.mark.parametrize(
    "change",
    [
        'os.chdir("/")',
        "os.umask(0o027)",
        'os.environ["COLOR"] = "blue"',
        'ctypes.CDLL(None).setenv(b"COLOR", b"blue", 1)',
        'sys.path.append("/opt")',
        "os.setgroups([os.getgid(), 12345])",
        "os.setresgid(12345, 12345, 12345); ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE",
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS",
        "ctypes.CDLL(None).unshare(0x20000)  # CLONE_NEWNS",
        "ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_ADMIN",
        "have_capabilities(READ_ALL)",
        "have_filter()",
        pytest.param("have_landlock()", marks=NEEDS_LANDLOCK),
    ],
)
def test_one_that_is_no_longer_what_a_new_one_would_be_is_not_used(python, change):
    """It ends, and the dump has a recorder of its own."""
    result, maker, first_lives, successor = python(
        PIPELINE
        + RIGHTS
        + f"""
{change}
found = dump()
end(first)
print(json.dumps([*found, is_alive(first), pid_of(standby())]))
"""
    )

    assert (result, maker, first_lives) == ("complete", 0, False)
    assert successor


OTHER_USER = """
os.setgroups([])
os.setresgid(12345, 12345, 12345)
ctypes.CDLL(None).prctl(8, 1)  # PR_SET_KEEPCAPS
os.setresuid(12345, 12345, 12345)
have_capabilities(READ_ALL, inheritable=READ_ALL)
for number in (1, 2):
    ctypes.CDLL(None).prctl(47, 2, number, 0, 0)  # PR_CAP_AMBIENT_RAISE
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_one_of_another_user_is_not_used(python, tmp_path):
    """A service that root has started gives up its rights but for reading this Python."""
    result, maker, user = python(
        PIPELINE
        + RIGHTS
        + OTHER_USER
        + """
found = dump()
end(first)
successor = pid_of(standby())
print(json.dumps([*found, os.stat(f"/proc/{successor}").st_uid]))
"""
    )

    assert (result, maker, user) == ("complete", 0, 12345)
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {12345}


def test_one_that_was_killed_is_not_used(python):
    """The dump has a recorder of its own."""
    result, maker = python(
        PIPELINE
        + """
os.kill(first, signal.SIGKILL)
end(first)
print(json.dumps(dump()))
"""
    )

    assert (result, maker) == ("complete", 0)


@pytest.mark.parametrize(
    "end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)", 'os.execv("/bin/true", ["true"])']
)
def test_it_ends_with_the_process(tmp_path, end):
    """However that ends, and although exit does not wait for it."""
    program = PIPELINE + f"print(first, flush=True)\n{end}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=100,
    )

    wait_for_the_end_of(int(done.stdout))


@pytest.mark.parametrize("ending", ["pipeline.prepare()", "del pipeline; gc.collect()"])
def test_it_ends_with_what_it_was_prepared_for(python, ending):
    """A pipeline that is prepared again without it, or is gone."""
    python(PIPELINE + f"{ending}\nend(first)\nprint(0)")


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.PyDLL(None).fork()"])
def test_a_forked_child_has_none(python, fork):
    """Its dumps have recorders of their own; that of its parent still waits for the parent.

    Although one that C code has forked has the same objects, and the end of the channel.
    """
    child, parent, first = python(
        PIPELINE
        + f"""
reader, writer = os.pipe()
if not {fork}:
    os.write(writer, json.dumps(dump()).encode())
    os._exit(0)
child = json.loads(os.read(reader, 1000))
os.wait()
print(json.dumps([child, dump(), first]))
"""
    )

    assert child == ["complete", 0]
    assert parent == ["complete", first]


WORKER = """
def work():
    return dump(), pid_of(standby()), dump()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_of_multiprocessing_prepares_its_own(tmp_path, method):
    """Started anew, or forked from a process that has never prepared any."""
    program = f"""
import multiprocessing
{UNPREPARED}
{WORKER}
def prepare():
    pipeline.prepare(standby=True)

if __name__ == "__main__":
    prepare()
    context = multiprocessing.get_context({method!r})
    with context.Pool(1, prepare) as pool:
        print(json.dumps([pool.apply(work), work()]))
"""
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, check=True, timeout=100
    )

    for (result, maker), *later in json.loads(done.stdout):
        assert (result, bool(maker)) == ("complete", True)
        assert later == [later[0], ["complete", later[0]]]


GUNICORN = """
def report():
    print(json.dumps(work()), flush=True)
    os.kill(os.getppid(), signal.SIGTERM)

def post_worker_init(worker):
    IN_WORKER
    report()

def on_starting(server):
    IN_ARBITER
"""


@pytest.mark.parametrize("where", ["IN_WORKER", "IN_ARBITER"])
def test_a_worker_of_gunicorn_has_its_own(tmp_path, where):
    """From the first dump on if it has prepared it itself, and from the second one otherwise."""
    hooks = GUNICORN.replace(where, "pipeline.prepare(standby=True)")
    hooks = hooks.replace("IN_WORKER", "pass").replace("IN_ARBITER", "pass")
    (tmp_path / "gunicorn.conf.py").write_text(UNPREPARED + WORKER + hooks)
    command = [Path(sys.executable).with_name("gunicorn"), "--bind", "unix:socket", "json:dumps"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=100)

    (result, maker), *later = json.loads(done.stdout)
    assert (result, bool(maker)) == ("complete", where == "IN_WORKER")
    assert later == [later[0], ["complete", later[0]]]


@pytest.mark.parametrize(
    "ending",
    [
        "pipeline.prepare()",
        "del pipeline; gc.collect()",
        'os.environ["COLOR"] = "blue"; dump()',
    ],
)
def test_it_ends_although_a_forked_child_has_the_end_of_its_channel(python, ending):
    """C code has forked the child, which so knows nothing of it, and keeps it open."""
    python(
        PIPELINE
        + f"""
child = ctypes.PyDLL(None).fork()
if not child:
    signal.pause()
{ending}
end(first)
os.kill(child, signal.SIGKILL)
print(0)
"""
    )


SUBREAPER = (
    "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER\n"
    "pipeline.prepare(standby=True)\n"
    "first = pid_of(standby())\n"
)


def test_no_dump_waits_for_the_end_of_one_that_is_a_child(python):
    """A subreaper, or the first process of a container, reaps it once its own dump has ended."""
    taken, then, later = python(
        PIPELINE
        + SUBREAPER
        + """
from gencore._runtime.lifetime import Stay

os.environ["COLOR"] = "blue"
taken = pipeline._prepared.standby.take(Stay())
then = Path(f"/proc/{first}").exists()
pipeline._prepared.standby.renew()
print(json.dumps([taken, then, Path(f"/proc/{first}").exists()]))
"""
    )

    assert (taken, then, later) == (None, True, False)


def test_exit_does_not_wait_for_the_end_of_one_that_is_a_child(python):
    """It is told to end, and belongs to another process then."""
    is_there = python(
        PIPELINE
        + SUBREAPER
        + """
from gencore._runtime import lifetime

lifetime._wait_for_all()
is_there = Path(f"/proc/{first}").exists()
del pipeline
end(first)
print(json.dumps(is_there and Path(f"/proc/{first}").exists()))
"""
    )

    assert is_there


EXIT_COMES = """
from gencore._runtime import lifetime

(waiting,) = pipeline._prepared.standby._waiting

def exit_comes():
    threading.Thread(target=lifetime._wait_for_all).start()
    while id(waiting) in lifetime._stays:
        time.sleep(0.002)
"""


def test_exit_leaves_it_to_a_dump_that_has_it_already(python):
    """Which exit waits for."""
    taken, first = python(
        PIPELINE
        + EXIT_COMES
        + """
class Interrupted(lifetime.Stay):
    def in_child(self, function):
        super().in_child(function)
        exit_comes()

stay = Interrupted()
taken = pipeline._prepared.standby.take(stay)
stay.end()
print(json.dumps([taken and pid_of(taken), first]))
"""
    )

    assert taken == first


def test_exit_leaves_it_to_who_ends_it_already(python):
    """Each descriptor is closed once: others may have its number by then."""
    python(
        PIPELINE
        + EXIT_COMES
        + """
dismiss = waiting.recorder.dismiss

def interrupted():
    waiting.recorder.dismiss = dismiss
    exit_comes()
    dismiss()

waiting.recorder.dismiss = interrupted
pipeline._prepared.standby.close()
end(first)
print(0)
"""
    )


def test_a_dump_ends_also_if_none_can_follow(python):
    """Its listeners are told, nothing is written, and the next one has its own recorder."""
    told, found, successor = python(
        PIPELINE
        + """
told = []
pipeline = gencore.Pipeline(
    collectors=["raw"], directory=os.getcwd(), on_event=lambda event: told.append(type(event))
)
pipeline.prepare(standby=True)
running = pipeline.start()
sys.path.append("/\\ud800")  # no program can be given that
running.result()
sys.path.pop()
told = told[-1].__name__
print(json.dumps([told, dump(), bool(standby())]))
"""
    )

    assert told == "DumpFinished"
    assert found == ["complete", 0]
    assert successor


JOB = """
from gencore._recorder.channel import Channel

job = standby()._job(pipeline._prepared, check=False)
"""


@pytest.mark.parametrize(
    "message",
    [
        """
code = "import os, sys; os.write(int(sys.argv[1]), bytes.fromhex(sys.argv[2]))"
fd = standby()._channel.fileno()
subprocess.run([sys.executable, "-c", code, str(fd), job.hex()], check=True, pass_fds=[fd])
""",
        """
os.setresgid(12345, 12345, 12345)
os.setresuid(12345, 12345, 12345)
os.write(standby()._channel.fileno(), job)
""",
    ],
    ids=["another process", "another user"],
)
def test_it_obeys_no_other_process_and_no_other_user(python, tmp_path, message):
    """Who has its socket gets nothing that the user who has prepared the pipeline may do."""
    python(PIPELINE + JOB + message + "end(first)\nprint(0)")

    assert os.listdir(tmp_path) == []


def test_dumps_that_overlap_have_recorders_of_their_own(python):
    """One of them has the one that waits, and one follows when both have ended."""
    results, makers, successors = python(
        PIPELINE
        + """
running = [pipeline.start() for _ in range(3)]
made_by = [pid_of(one._stop.recorder) if one._stop.recorder._pidfd else 0 for one in running]
results = [one.result().result for one in running]
print(json.dumps([results, made_by, len(pipeline._prepared.standby._waiting)]))
"""
    )

    assert results == ["complete"] * 3
    assert [bool(pid) for pid in makers] == [True, False, False]
    assert successors == 1
