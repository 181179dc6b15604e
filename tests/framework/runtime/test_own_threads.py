"""Threads, locks and room of gencore's own, in processes that make it hard for them.

Each program prints what it saw as JSON; each is a process of its own.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

SMALL_STACKS = """
import gencore, json, sys, threading
seen = []
for size in map(int, sys.argv[1:]):
    threading.stack_size(size)
    report = gencore.start(directory=".", content="stacks").result()
    seen.append([report.result, threading.stack_size(0)])
print(json.dumps(seen))
"""


def test_threads_bring_their_own_stack(python):
    """The application's size is too small for what they call, and stays what it is."""
    sizes = [32 << 10, 64 << 10, 0]

    assert python(SMALL_STACKS, *sizes) == [["complete", size] for size in sizes]


STACKS_OF_OTHERS = """
import json, os, sys, threading
from gencore._runtime.os_thread import OsThread
sys.setswitchinterval(1e-6)
threading.stack_size(256 << 10)
sizes, over = set(), False
def start_others():
    while not over:
        thread = threading.Thread(target=sum, args=[()])
        thread.start()
        thread.join()
        sizes.add(threading.stack_size(256 << 10))  # without an argument it would set the default
other = threading.Thread(target=start_others)
other.start()
for _ in range(300):
    OsThread(lambda: None).join()
over = True
other.join()
print(json.dumps(sorted(sizes)))
"""


def test_no_thread_of_the_application_sees_the_size_of_our_stacks(python):
    """It is the process's, so it is set and put back in one step of the interpreter."""
    assert python(STACKS_OF_OTHERS) == [256 << 10]


GREEN = """
import gc, importlib, json, os, sys, threading
green, moment = sys.argv[1:]
def patch():
    if green == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    else:
        importlib.import_module("eventlet").monkey_patch()
if moment == "before":
    patch()
import gencore, gencore.testing
if moment == "after":
    patch()
import time
ticks = []
def tick():
    while True:
        ticks.append(len(ticks))
        time.sleep(0.001)
importlib.import_module(green).spawn(tick)

class WaitsForTheLoop(gencore.Collector):
    name, api_version = "waits", (1, 0)
    def finish(self, dump):
        begin = len(ticks)
        end = time.monotonic() + 30
        while len(ticks) < begin + 20:
            assert time.monotonic() < end, "the event loop stands still"
            gencore.runtime.Latch().wait(0.001)
        return []

pipeline = gencore.Pipeline(
    directory=".", collectors=[WaitsForTheLoop, "manifest", "raw"], content="stacks", timeout=60
)
bundles = gencore.Pipeline(directory=".", content="stacks")
pipeline.run(), bundles.run()
gc.disable()
descriptors = len(os.listdir("/proc/self/fd"))
reports = [one.start().result(60) for one in (pipeline, bundles, pipeline)]
manifest = json.loads(reports[-1].path_of("manifest").read_text())
main = next(row for row in manifest["threads"] if row["tid"] == os.getpid())
print(json.dumps([
    [report.result for report in reports],
    [row["tid"] for row in manifest["threads"]] == [os.getpid()],
    main["python"]["name"],
    main["python"]["frames"][-1]["function"],
    [thread.name for thread in threading.enumerate()],
    len(os.listdir("/proc/self/fd")) - descriptors,
]))
"""


@pytest.mark.parametrize(
    ("green", "moment"),
    [
        ("gevent", "before"),
        ("eventlet", "after"),
        pytest.param("gevent", "after", marks=pytest.mark.exhaustive),
        pytest.param("eventlet", "before", marks=pytest.mark.exhaustive),
    ],
)
def test_the_event_loop_of_greenlets_goes_on(python, green, moment):
    """Patched before or after the import: dump and manifest are whole, and nobody waits."""
    if find_spec(green) is None:
        pytest.skip(f"{green} is not installed")
    results, one_thread, name, function, threads, more = python(GREEN, green, moment)

    assert results == ["complete"] * 3
    assert one_thread
    assert (name, function) == ("MainThread", "<module>")
    assert threads == ["MainThread"]
    assert more <= 0


NO_MEMORY = """
import gencore, json, resource, time
pipeline = gencore.Pipeline(directory=".", collectors=["raw"], content="stacks", timeout=30)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (512 << 10), -1))
try:
    pipeline.start_here("without a recorder")
except BaseException as error:
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print(json.dumps([type(error).__name__, str(error)]))
"""


def test_without_memory_for_a_thread_a_dump_is_refused_at_once(python):
    """Not waited for for ever for a thread that could not begin; the remedy names memory."""
    error, text = python(NO_MEMORY)

    assert error == "Refused"
    assert "ulimit -v" in text


FEW_THREADS = """
import ctypes, gencore, json, os, resource, tempfile
USER = 54322  # a user that has no other process; root is not limited
folder = tempfile.TemporaryDirectory()  # not in pytest's, which is root's
os.chown(folder.name, USER, USER)
pipeline = gencore.Pipeline(directory=folder.name, content="stacks")
pipeline.start_here("as root, who can read every module").result()
seen = []
if (child := os.fork()) == 0:
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    for room in range(8):
        while len(os.listdir("/proc/self/task")) > 1:  # the last dump's
            pass
        resource.setrlimit(resource.RLIMIT_NPROC, (1 + room, most))
        try:
            report = pipeline.run()
            seen.append([report.result, *sorted(a.collector for a in report.artifacts)])
        except gencore.Refused as error:
            seen.append(["refused", error.remedy])
    print(json.dumps(seen), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user without other processes")
def test_with_few_threads_a_bundle_is_made_or_refused_before_the_pause(python):
    """Never made and thrown away: what has no thread is done by those that there are."""
    seen = python(FEW_THREADS)

    assert seen[0] == [
        "refused",
        "raise the limit on processes (ulimit -u) or pids.max of the cgroup",
    ]
    assert [row[-1] for row in seen[1:]] == ["archive"] * 7  # partial: it cannot read each library


FEW_DESCRIPTORS = """
import gencore, json, os, resource, sys, threading
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
backend, collectors = sys.argv[1], sys.argv[2:]
pipeline = gencore.Pipeline(
    directory=".", backend=backend, collectors=collectors, content="private"
)
pipeline.run()
before = len(os.listdir("."))
seen = []
for free in range(13):
    *used, _ = sorted(map(int, os.listdir("/proc/self/fd")))  # the last is the listing's own
    taken = [os.open(os.devnull, os.O_RDONLY) for number in range(max(used)) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + 1 + free, limits[1]))
    try:
        report = pipeline.run()
        row = [report.result, len(report.threads)]
    except gencore.GencoreError as error:
        row = ["refused", "ulimit -n" in str(error)]
    except BaseException as error:
        row = ["raw", repr(error)]
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for fd in taken:
        os.close(fd)
    left = [name for name in os.listdir(".") if name.endswith(".part")]
    seen.append([*row, left, len(os.listdir("/proc/self/fd")) - len(used) - 1])
print(json.dumps(seen))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(
    ("collectors", "old_kernel"),
    [
        (("manifest", "archive"), False),
        pytest.param(("manifest", "archive"), True, marks=pytest.mark.exhaustive),
        pytest.param(("manifest", "raw"), False, marks=pytest.mark.exhaustive),
        pytest.param(("manifest", "raw"), True, marks=pytest.mark.exhaustive),
    ],
)
def test_with_few_descriptors_a_dump_is_whole_or_refused(python, collectors, old_kernel):
    """With the remedy, nothing left, and never an error of the system's as it is."""
    blind = "from gencore._pipeline import room; room._plenty_are_free = lambda: False\n"
    code = blind * old_kernel + FEW_DESCRIPTORS
    seen = python(code, "linux-elf", *collectors)

    assert [
        row for row in seen if row not in [["refused", True, [], 0], ["complete", 4, [], 0]]
    ] == []
    assert seen[0][0] == "refused"
    assert seen[-1][0] == "complete"


AT_EXIT = """
import atexit, json, os, sys
rows = []
atexit.register(lambda: print(json.dumps([*rows, [n.endswith(".part") for n in os.listdir(".")]])))
def dump_late():  # runs after gencore's own exit function has waited for the last dump
    rows.append(gencore.start(**options).done())
atexit.register(dump_late)
import gencore
if sys.argv[1] == "used":
    gencore.start
options = {"directory": ".", "collectors": ["raw"], "content": "stacks"}
atexit.register(lambda: rows.append(gencore.start(**options).result().result))
atexit.register(lambda: gencore.start(**options))  # nobody waits for it
"""


@pytest.mark.parametrize("before", ["used", "imported"])
def test_exit_functions_may_ask_for_dumps(python, before):
    """Whether they wait or not, and also after gencore has waited for the last."""
    assert python(AT_EXIT, before) == ["complete", True, [False] * 3]


DAEMON = """
import gencore, os, sys, threading
pipeline = gencore.Pipeline(directory=".", collectors=["raw"], content="private")
second = threading.Event()
def dump_again_and_again():
    pipeline.run()
    second.set()
    while True:
        pipeline.run()
threading.Thread(target=dump_again_and_again, daemon=True).start()
second.wait()
"""


def test_the_programs_end_leaves_no_dump_of_a_daemon_thread_unfinished(tmp_path):
    """It waits for the one that goes on, and begins no other."""
    done = subprocess.run(
        [sys.executable, "-c", DAEMON],
        cwd=tmp_path,
        check=False,
        timeout=100,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []


ENDS_AT_ONCE = """
import gencore, multiprocessing, os
ballast = os.urandom(20 << 20)
def work():
    gencore.start(directory=".", collectors=["archive"])
if __name__ == "__main__":
    WAY
"""


@pytest.mark.parametrize(
    "way",
    [
        "work()",
        "p = multiprocessing.get_context('fork').Process(target=work); p.start(); p.join()",
    ],
)
def test_a_process_that_ends_finishes_its_dump_first(tmp_path, way):
    """Also one of multiprocessing, which ends without exit functions before Python 3.13."""
    code = ENDS_AT_ONCE.replace("WAY", way)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=100)

    (name,) = os.listdir(tmp_path)
    assert name.endswith(".tar.gz")


FORKED = """
import gencore, gencore.testing, json, os, signal, sys, threading
moment = sys.argv[1]
inside, go_on = threading.Event(), threading.Event()

class Waits(gencore.Collector):
    name, api_version, time_limit = "waits", (1, 0), None
    def begin(self, dump):
        if moment == "core":
            self.wait()
    def finish(self, dump):
        if moment == "finish":
            self.wait()
        return []
    def wait(self):
        inside.set()
        go_on.wait()

class Slow(gencore.testing.SimulatedBackend):
    def snapshot(self, *args, **options):
        if moment == "pause":
            inside.set()
            go_on.wait()
        return super().snapshot(*args, **options)

options = {"directory": ".", "collectors": [Waits, "raw"], "content": "stacks"}
if moment == "pause":
    options["backend"] = Slow()
dumps = []
dumper = threading.Thread(target=lambda: dumps.append(gencore.start(**options)))
dumper.start()
inside.wait()
if moment != "pause":
    dumper.join()
if (child := os.fork()) == 0:
    signal.alarm(60)
    try:
        dumps[0].result(30)
    except gencore.Refused:
        assert moment != "pause"
    except IndexError:
        assert moment == "pause"
    dump = gencore.start(directory=".", collectors=["raw"], content="stacks")
    assert dump.result(50).result == "complete"
    os.unlink(dump.result().path_of("raw"))
    dumps.clear()
    sys.exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
dumper.join()
print(json.dumps([code, dumps[0].result(60).result, len(os.listdir("."))]))
"""


@pytest.mark.parametrize("moment", ["pause", "core", "finish"])
def test_a_child_that_is_forked_during_a_dump_is_as_new(python, moment):
    """It can dump at once, and neither waits for its parent's dump nor harms it by its end."""
    assert python(FORKED, moment) == [0, "complete", 1]


LEFT = """
import gencore, json, os, pathlib, sys, threading, time
class Fails(gencore.Collector):
    name, api_version = "fails", (1, 0)
    def finish(self, dump):
        raise ValueError
pipeline = gencore.Pipeline(directory=".", collectors=[Fails, "archive"], content="stacks")
def count():
    end = time.monotonic() + 20
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    return [len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task")]
def dump():
    dump = pipeline.start()
    if sys.argv[1] == "cancel":
        dump.cancel()
    try:
        dump.result(60)
    except BaseException:
        pass
dump()
before = count()
for _ in range(5):
    dump()
print(json.dumps([before == count(), threading.active_count()]))
"""


@pytest.mark.parametrize(
    "failure", [pytest.param("collector", marks=pytest.mark.exhaustive), "cancel"]
)
def test_no_thread_and_no_descriptor_outlives_a_dump_that_fails(python, failure):
    """Nor is one known to threading."""
    assert python(LEFT, failure) == [True, 1]


REENTRANT_WAIT = """
import gencore, json, signal, sys
pipeline = gencore.Pipeline(directory=".", collectors=["raw"], content="stacks")
pipeline.run()  # nothing is left to be imported
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(pipeline.start().result(50).result))
for delay in range(1, 20, int(sys.argv[1])):
    signal.setitimer(signal.ITIMER_REAL, delay / 1000)
    pipeline.start().result(50)
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps(sorted(set(seen))))
"""


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_signal_handler_that_waits_for_a_dump_does_not_hang(python, step):
    """Whatever lock of ours it has interrupted, and whatever of threading's."""
    assert python(REENTRANT_WAIT, step) == ["complete"]
