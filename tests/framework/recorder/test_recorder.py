"""Dumps that a process of their own makes: what the target sees, and what it does not."""

import inspect
import json
import os
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import children
import pytest

import gencore
from gencore._pipeline.pipeline import _leave_to_target
from gencore._recorder.job import NoRecorder
from gencore.bundle import BundleReader, verify
from gencore_backends.aix.stub import Aix
from gencore_backends.windows.stub import Windows

pytestmark = [
    pytest.mark.recorder,
    pytest.mark.skipif(sys.platform != "linux", reason="Linux"),
    pytest.mark.timeout(200),  # many seconds in all; see conftest.py on the order
]


def manifest_of(bundle):
    """Return the manifest in a bundle."""
    with BundleReader(bundle) as reader:  # its table leads there; tar would unpack all the core
        return reader.manifest()


def is_whole(path):
    """Return whether a bundle passes all checks."""
    with BundleReader(path) as bundle:
        return all(check.ok for check in verify(bundle))


def test_a_dump_is_made_by_a_process_of_its_own(tmp_path):
    """Its bundle is whole, and describes this process: command line, stacks, annotations."""
    gencore.annotate(color="blue")
    try:
        options = {"content": "stacks", "annotations": {"shape": "round"}}
        report = gencore.start(directory=tmp_path, **options).result()
    finally:
        gencore.annotate(color=None)

    assert (report.recorder, report.recorder_reason) == ("process", None)
    assert report.result == "complete"
    assert report.call_seconds > report.pause.total > 0
    found = manifest_of(report.path_of("archive"))
    assert found["process"]["pid"] == os.getpid()
    assert found["annotations"] == {"color": "blue", "shape": "round"}
    (main,) = (row for row in found["threads"] if row["tid"] == os.getpid())
    functions = [frame["function"] for frame in main["python"]["frames"]]
    assert "test_a_dump_is_made_by_a_process_of_its_own" in functions
    assert 0 <= main["python"]["seconds_before"] < 60


def test_what_is_too_long_for_a_packet_reaches_a_recorder_all_the_same(tmp_path):
    """Here both what it is to do, and what this process says of itself."""
    annotations = {f"key{number}": "value" * 200 for number in range(50)}

    def dump_below(frames):
        if frames:
            return dump_below(frames - 1)
        options = {"content": "stacks", "annotations": annotations}
        return gencore.start(directory=tmp_path, **options).result()

    report = dump_below(400)

    assert (report.recorder, report.result) == ("process", "complete")
    found = manifest_of(report.path_of("archive"))
    assert found["annotations"] == annotations
    (main,) = (row for row in found["threads"] if row["tid"] == os.getpid())
    functions = [frame["function"].rpartition(".")[2] for frame in main["python"]["frames"]]
    assert functions.count("dump_below") == 401


def test_it_says_the_same_as_a_dump_made_here(tmp_path):
    """Name by name, but for what differs between any two dumps."""
    found = {}
    for where in ("process", "thread"):
        if where == "process":
            report = gencore.start(directory=tmp_path, name=where, content="stacks").result()
        else:
            pipeline = gencore.Pipeline(directory=tmp_path, name=where, content="stacks")
            report = pipeline.start_here("why").result()
        assert report.recorder == where
        found[where] = manifest_of(report.path_of("archive"))

    def shape(value):
        return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None

    sections = ("process", "container", "k8s", "service", "deployment", "environment", "runtime")
    for section in sections:
        assert shape(found["process"][section]) == shape(found["thread"][section]), section
    for same in ("argv", "cwd", "executable", "uid", "gid"):
        assert found["process"]["process"].get(same) == found["thread"]["process"].get(same)
    assert found["process"]["runtime"] == found["thread"]["runtime"]
    assert found["process"]["environment"] == found["thread"]["environment"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("full", marks=pytest.mark.exhaustive),
        pytest.param("private", marks=pytest.mark.exhaustive),
        "stacks",
        "triage",
    ],
)
def test_each_content_can_be_recorded(tmp_path, content):
    """Also those that need to know which memory readers of Python stacks look at."""
    report = gencore.start(directory=tmp_path, content=content).result()

    assert (report.recorder, report.result) == ("process", "complete")
    assert is_whole(report.path_of("archive"))


def test_what_is_excluded_is_wiped(tmp_path):
    """By the target's clone, before the recorder sees a byte."""
    secret = bytearray(64)
    with Path("/dev/urandom").open("rb", buffering=0) as source:
        source.readinto(secret)  # no freed memory has a copy of it
    beginning = memoryview(secret)[:32].hex()
    with gencore.exclude(secret):
        path = gencore.create_core(directory=tmp_path, content="private")

    assert path.read_bytes().count(bytes.fromhex(beginning)) == 0


def test_the_target_hears_events_and_progress(tmp_path):
    """In order, on a thread of its own; the end once."""
    heard = []
    dump = gencore.start(directory=tmp_path, content="stacks", on_event=heard.append)
    dump.result()

    kinds = [type(event).__name__ for event in heard]
    assert kinds[0] == "StageStarted"
    assert kinds[-1] == "DumpFinished"
    assert kinds.count("DumpFinished") == 1
    stages = [event.stage for event in heard if type(event).__name__ == "StageFinished"]
    assert stages == ["pause", "libraries", "core", "manifest", "archive", "publish"]
    assert dump.progress.stage == "done"


def test_a_cancelled_dump_leaves_nothing(tmp_path):
    """Neither a file nor a report; `cancel` says whether it was in time."""
    dump = gencore.start(directory=tmp_path, collectors=["raw"])

    if dump.cancel():
        with pytest.raises(CancelledError):
            dump.result(60)
        assert dump.cancelled()
        assert os.listdir(tmp_path) == []
    else:
        assert dump.result(60).result == "complete"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"collectors": ["nosuch"]}, gencore.PluginError),
        ({"directory": "/nosuch/directory"}, gencore.OutputError),
        ({"backend": "aix"}, gencore.Unsupported),
    ],
)
def test_what_is_refused_before_the_pause_is_raised_by_start(tmp_path, options, error):
    """As an error of the same class, with its remedy."""
    with pytest.raises(error) as caught:
        gencore.start(**{"directory": tmp_path, **options})

    assert caught.value.remedy or caught.value.message


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"backend": "linux-sigsegv"}, "takes its snapshot in the process itself"),
        ({"collectors": [lambda: None]}, "collector was given as an object"),
        ({"destination": lambda: None}, "destination was given as an object"),
        ({"filters": [lambda: None]}, "filter was given as an object"),
    ],
)
def test_what_cannot_be_described_is_made_by_a_thread(tmp_path, options, reason, monkeypatch):
    """The report says why."""
    seen = []
    monkeypatch.setattr(
        gencore.Pipeline, "start_here", lambda _, why: seen.append(why), raising=True
    )
    gencore.start(**{"directory": tmp_path, **options})

    assert reason in seen[0]


def test_a_recorder_for_which_no_backend_works_names_none():
    """The one that comes first may be that of another platform."""
    with pytest.raises(NoRecorder, match="no backend that a recorder can use works here"):
        _leave_to_target([Aix(), Windows()], willing=[])


@pytest.mark.parametrize("flag", ["standby", "huge_pages"])
def test_to_prepare_takes_true_or_false_only(tmp_path, flag):
    """A text such as "no" would be taken for True."""
    with pytest.raises(gencore.UsageError, match=f"{flag}='no' is neither True nor False"):
        gencore.Pipeline(directory=tmp_path).prepare(**{flag: "no"})


def test_a_prepared_pipeline_does_not_wait_for_its_recorder(tmp_path):
    """The name of the backend is known, and what is refused later is in the report."""
    pipeline = gencore.Pipeline(directory=tmp_path, content="stacks")
    pipeline.prepare()
    dump = pipeline.start()
    report = dump.result()

    assert dump.backend == report.backend == "linux-elf"
    assert (report.recorder, report.result) == ("process", "complete")
    assert report.path_of("archive").name.startswith(dump.name)


@pytest.mark.parametrize("standby", [False, True])
def test_to_prepare_for_another_process_checks_that_one(tmp_path, standby):
    """As `check` does, and starts nothing: who asks for such a dump makes it."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    pipeline = gencore.Pipeline(target=ended.pid, directory=tmp_path)

    with pytest.raises(gencore.TargetUnavailable, match="does not exist"):
        pipeline.prepare(standby=standby)


def test_what_fails_after_the_pause_of_a_prepared_pipeline_is_in_its_report(tmp_path):
    """Here the directory is gone by then."""
    place = tmp_path / "place"
    place.mkdir()
    pipeline = gencore.Pipeline(directory=place)
    pipeline.prepare()
    place.rmdir()
    report = pipeline.start().result()

    assert report.result == "failed"
    assert [part.part for part in report.failed] == ["recorder"]
    assert isinstance(report.failed[0].error, gencore.OutputError)


def test_a_descriptor_of_the_process_is_written_by_the_process():
    """Standard output is the target's, and not what a recorder has in its place."""
    command = 'report = gencore.start(destination="descriptor").result()'
    check = "print(report.recorder, report.recorder_reason, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"import gencore, sys\n{command}\n{check}"],
        capture_output=True,
        check=True,
    )

    assert done.stdout[:2] == b"\x1f\x8b"
    assert done.stderr.startswith(b"thread destination 'descriptor' uses something")


RECORDED = (
    inspect.getsource(children)
    + """
import gencore, json, os, signal, sys, time
from gencore._recorder import starting

def recorder_of(dump):
    while (pidfd := dump._stop.recorder.process.pidfd) < 0:  # until the clone has started it
        time.sleep(0.001)
    text = open(f"/proc/self/fdinfo/{pidfd}").read()
    return int(text.partition("Pid:")[2].split()[0])

ballast = os.urandom(16 << 20)
"""
)
"""What programs begin with; the memory keeps a dump from ending at once."""


@pytest.fixture
def program(tmp_path):
    """Return a function that runs a program in a session of its own, to its end."""

    def run(text):
        command = [sys.executable, "-c", RECORDED + text]
        return subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )

    return run


def wait_for_bundle(folder):
    """Wait until there is one, and nothing unfinished beside it; return it."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        names = os.listdir(folder)
        if len(names) == 1 and names[0].endswith(".tar.gz"):
            return folder / names[0]
        time.sleep(0.05)
    raise AssertionError(names)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", marks=pytest.mark.exhaustive),
        pytest.param("os.killpg(0, signal.SIGTERM)", marks=pytest.mark.exhaustive),
        pytest.param("os.killpg(0, signal.SIGINT)", marks=pytest.mark.exhaustive),
        "os.killpg(0, signal.SIGKILL)",
        pytest.param("os._exit(0)", marks=pytest.mark.exhaustive),
        'os.execv("/bin/true", ["true"])',
    ],
)
def test_a_dump_survives_its_target(program, tmp_path, end):
    """However the target ends right after the pause: alone, or with its process group."""
    program(f"dump = gencore.start()\n{end}")

    assert is_whole(wait_for_bundle(tmp_path))


@pytest.mark.parametrize("standby", [False, True])
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_a_dump_survives_a_target_that_ends_before_its_recorder_has_loaded(
    program, tmp_path, end, standby
):
    """As that of a prepared pipeline may: its recorder then knows the clone only."""
    prepare = f"pipeline.prepare(standby={standby})"
    program(f"pipeline = gencore.Pipeline()\n{prepare}\npipeline.start()\n{end}")
    bundle = wait_for_bundle(tmp_path)

    assert is_whole(bundle)
    statuses = {row["status"] for row in manifest_of(bundle)["libraries"]}
    assert "ok" in statuses
    assert not statuses & {"deleted", "unreadable"}


def test_the_death_of_a_recorder_is_what_its_dump_reports(program):
    """The target goes on; no child of it is left."""
    done = program("""
dump = gencore.start(collectors=["raw"])
os.kill(recorder_of(dump), signal.SIGKILL)
report = dump.result(60)
print(json.dumps([report.result, report.recorder, report.failed[0].reason, children()]))
""")
    result, recorder, reason, left = json.loads(done.stdout)

    assert (result, recorder, left) == ("failed", "process", [])
    assert "the recorder ended before the dump was complete" in reason


def test_a_forked_child_has_no_part_in_the_dump(program):
    """It is told so; that it lives on, with what it has inherited, holds up nothing."""
    done = program("""
dump = gencore.start(collectors=["raw"])
reader, writer = os.pipe()
child = os.fork()
if not child:
    try:
        dump.result(5)
    except gencore.Refused:
        os.write(writer, b"refused")
    signal.pause()
said = os.read(reader, 100).decode()
result = dump.result(60).result
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(json.dumps([said, result]))
""")
    assert json.loads(done.stdout) == ["refused", "complete"]


@pytest.mark.parametrize("huge_pages", [False, True])
def test_nothing_is_imported_for_a_dump_of_a_pipeline(program, huge_pages):
    """Its files may be gone: here an upgrade has removed all but the standard library's."""
    done = program(
        f"""
pipeline = gencore.Pipeline(content="stacks", huge_pages={huge_pages})
"""
        """
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Gone())
report = pipeline.run()
print(json.dumps([report.result, report.recorder]))
"""
    )
    assert json.loads(done.stdout) == ["complete", "process"], done.stderr


def test_the_application_sees_no_child(program):
    """Neither its waitpid() for any child, nor a SIGCHLD."""
    done = program("""
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
def look():
    try:
        seen.extend(filter(None, [os.waitpid(-1, os.WNOHANG)[0]]))
    except ChildProcessError:
        pass
dump = gencore.start(collectors=["raw"])
while not dump.done():
    look()
    time.sleep(0.001)
look()
print(json.dumps([seen, dump.result().recorder, dump.result().result]))
""")
    assert json.loads(done.stdout) == [[], "process", "complete"], done.stderr


def test_a_recorder_has_no_descriptor_of_its_target(program):
    """Not even one that the application lets its children inherit."""
    done = program("""
given = os.open("/etc/hostname", os.O_RDONLY)
os.set_inheritable(given, True)
dump = gencore.start(collectors=["raw"])
recorder = recorder_of(dump)
os.kill(recorder, signal.SIGSTOP)
while open(f"/proc/{recorder}/stat").read().rpartition(")")[2].split()[0] != "T":
    os.sched_yield()  # it opens and closes files
folder = f"/proc/{recorder}/fd"
links = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
os.kill(recorder, signal.SIGCONT)
dump.result()
print(json.dumps(links))
""")
    assert "/etc/hostname" not in json.loads(done.stdout)


@pytest.mark.parametrize("dumps", [5, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_dumps_leave_no_descriptor_thread_or_memory(program, dumps):
    """After as many as a service may make in its life."""
    done = program(
        f"dumps = {dumps}"
        """
import gc
def state():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return [len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages * 4096]
pipeline = gencore.Pipeline(collectors=["raw"], content="stacks")
pipeline.prepare()
for _ in range(3):
    os.unlink(pipeline.run().path_of("raw"))
before = state()
for _ in range(dumps):
    os.unlink(pipeline.run().path_of("raw"))
while len(os.listdir("/proc/self/task")) > before[1]:
    os.sched_yield()
print(json.dumps([before, state()]))
"""
    )
    (descriptors, threads, memory), after = json.loads(done.stdout)

    assert after[:2] == [descriptors, threads]
    assert after[2] - memory <= 2 << 20


def test_a_recorder_of_another_version_makes_no_dump(tmp_path, monkeypatch):
    """Messages may mean something else to it: an upgrade has changed what is installed."""
    monkeypatch.setattr("gencore._recorder.new_recorder.__version__", "0.0.1")
    report = gencore.start(directory=tmp_path, collectors=["raw"], content="stacks").result()

    assert (report.recorder, report.result) == ("thread", "complete")
    assert "gencore was changed to version" in report.recorder_reason


def test_whenever_a_recorder_is_killed_the_next_dump_finds_nothing_of_it(program, tmp_path):
    """No child, no half artefact under a final name, and no directory that is not swept."""
    done = program("""
import random, threading

moments = random.Random(1)

def run_and_kill():
    dump = pipeline.start()
    own = os.pidfd_open(recorder_of(dump))
    timer = threading.Timer(moments.uniform(0, 1), signal.pidfd_send_signal, (own, 9))
    timer.start()
    result = dump.result().result
    timer.cancel()
    timer.join()
    os.close(own)
    return result

pipeline = gencore.Pipeline(collectors=["manifest", "archive"], content="private")
pipeline.prepare()
results = [run_and_kill() for _ in range(8)]
results.append(pipeline.run().result)
print(json.dumps([results, children()]))
""")
    results, left = json.loads(done.stdout)

    assert set(results[:-1]) <= {"failed", "complete"}
    assert "failed" in results
    assert (results[-1], left) == ("complete", [])
    kept = os.listdir(tmp_path)
    assert len(kept) >= results.count("complete")  # one may be killed once it has published
    assert all(is_whole(tmp_path / name) for name in kept)


def test_a_recorder_needs_little_memory_however_large_the_heap(program):
    """Less than 64 MiB more than at its start."""
    done = program("""
ballast += os.urandom(112 << 20)
dump = gencore.start()
status = f"/proc/{recorder_of(dump)}/status"
peaks = []
while not dump.done():
    try:
        rows = dict(line.split(":", 1) for line in open(status))
        peaks.append(int(rows["VmHWM"].split()[0]) >> 10)
    except (OSError, KeyError):
        break
    time.sleep(0.001)
print(json.dumps([dump.result().result, peaks[0], max(peaks)]))
""")
    result, begin, most = json.loads(done.stdout)

    assert result == "complete"
    assert most - begin < 64  # MiB


def test_a_process_that_has_a_recorder_loads_no_reader(python):
    """It may be in trouble: what reads, hashes and packs a core is loaded in the recorder only."""
    code = """if True:
        import json, sys
        import gencore
        report = gencore.start(content="stacks").result()
        print(json.dumps([report.recorder, report.result, sorted(sys.modules)]))
    """
    *how, loaded = python(code)

    assert how == ["process", "complete"]
    heavy = {"asyncio", "importlib.metadata", "isal", "stevedore", "tarfile"}
    assert heavy.isdisjoint(loaded)
