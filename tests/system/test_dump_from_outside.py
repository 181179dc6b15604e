"""``gencore exec``, ``dump`` and ``ps``, as an operator uses them on services."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gencore
from gencore.bundle import BundleReader
from gencore.target import Target

COMMAND = Path(sys.executable).with_name("gencore")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's")

WAITS = """
import sys
print("ready", flush=True)
sys.stdin.read()
"""
HOLDS_THE_GIL = """
import re
print("ready", flush=True)
re.match(r"(a|a?)+$", "a" * 40 + "b")
"""
SPINS = """
import sys, threading
def spin():
    while True:
        pass
for _ in range(4):
    threading.Thread(target=spin, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
FORKS = """
import os, sys
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
os.waitpid(child, 0)
"""


def gencore_command(*arguments, **options):
    """Run it; return the finished process, with text."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )


@pytest.fixture
def service():
    """Return a function that starts a program below ``gencore exec``, and reads a line of it."""
    started = []

    def start(code, *options, armed=True, **others):
        launcher = [COMMAND, "exec", "--"] if armed else []
        process = subprocess.Popen(
            [*launcher, sys.executable, *options, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **others,
        )
        started.append(process)
        process.line = process.stdout.readline().strip()
        assert process.line
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def manifest_of(bundle):
    with BundleReader(bundle) as reader:  # its table leads there; tar would unpack all the core
        return reader.manifest()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="plain"),
        *(pytest.param((o,), id=o, marks=pytest.mark.exhaustive) for o in ("-I", "-E")),
    ],
)
def test_a_python_below_exec_is_dumped(service, tmp_path, options):
    """Standard output is the path of the bundle, which verifies and describes that process."""
    process = service(WAITS, *options)

    done = gencore_command("dump", process.pid, "-o", tmp_path, "--reason", "it is Monday")

    assert done.returncode == 0, done.stderr
    (bundle,) = done.stdout.splitlines()
    assert gencore_command("verify", bundle).returncode == 0
    manifest = manifest_of(bundle)
    assert manifest["process"]["pid"] == process.pid
    assert manifest["process"]["argv"][-2:] == ["-c", "[redacted]"]
    assert manifest["runtime"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert manifest["trigger"]["kind"] == "request"
    assert manifest["trigger"]["reason"] == "it is Monday"
    assert manifest["trigger"]["requested_by"]["uid"] == os.geteuid()
    assert manifest["tool"]["backend"]["name"] == "linux-agent"


@pytest.mark.parametrize("content", ["full", pytest.param("stacks", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("code", [HOLDS_THE_GIL, SPINS], ids=["GIL held in C", "spinning threads"])
def test_the_stacks_of_a_stuck_service_show_where_it_is(service, tmp_path, code, content):
    """Its own Python runs nothing for that, and is not waited for."""
    process = service(code)

    done = gencore_command("dump", process.pid, "-o", tmp_path, "--content", content, "--quiet")
    stacks = gencore_command("stacks", done.stdout.strip())

    assert done.returncode == 0, done.stderr
    assert {HOLDS_THE_GIL: "in match", SPINS: "in spin"}[code] in stacks.stdout


def test_the_main_thread_is_the_one_that_a_debugger_selects(service, tmp_path, tool):
    """The agent's, which asked for the clone, comes after it."""
    process = service(WAITS)
    done = gencore_command("dump", process.pid, "-o", tmp_path, "--collector", "raw", "--quiet")
    gdb = [
        tool("gdb"),
        "-batch",
        "-nx",
        "-ex",
        "info threads",
        sys.executable,
        done.stdout.strip(),
    ]

    threads = subprocess.run(gdb, capture_output=True, text=True, check=True).stdout

    (selected,) = (line for line in threads.splitlines() if line.startswith("*"))
    assert f"LWP {process.pid})" in selected


def test_a_bundle_goes_to_standard_output(service, tmp_path, packer):
    """With -o - there is nothing else there, and no file."""
    process = service(WAITS)
    collectors = ["--collector", "manifest", "--collector", packer.name]

    done = subprocess.run(
        [COMMAND, "dump", str(process.pid), "-o", "-", "--quiet", *collectors],
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )

    assert list(tmp_path.iterdir()) == []
    bundle = tmp_path / f"bundle.{packer.codec.extension}"
    bundle.write_bytes(done.stdout)
    assert manifest_of(bundle)["process"]["pid"] == process.pid


def test_json_has_a_row_for_each_process(service, tmp_path):
    """One that is gone does not cost the others, and the exit code is that of a part."""
    process = service(WAITS)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    done = gencore_command("dump", process.pid, gone.pid, "-o", tmp_path, "--json", "--quiet")

    shown = json.loads(done.stdout)
    assert (done.returncode, shown["exit_code"], shown["schema_version"]) == (3, 3, "1.0")
    good, bad = shown["dumps"]
    assert (good["pid"], good["exit_code"], good["result"]) == (process.pid, 0, "complete")
    assert (bad["pid"], bad["exit_code"], bad["error"]["error"]) == (
        gone.pid,
        6,
        "TargetUnavailable",
    )


def test_a_process_that_is_not_armed_is_exit_code_6(service):
    """With the command that arms it."""
    process = service(WAITS, armed=False)

    done = gencore_command("dump", process.pid)

    assert (done.returncode, done.stdout) == (6, "")
    assert f"process {process.pid} is not armed" in done.stderr
    assert "gencore exec -- COMMAND" in done.stderr


def test_a_process_that_has_ended_is_said_to_have(service):
    """It is there until its parent asks for it, and no command would arm it."""
    process = service(WAITS)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    done = gencore_command("dump", process.pid)

    assert done.returncode == 6
    assert done.stderr == f"gencore: process {process.pid} has ended, and waits for its parent\n"


def test_a_python_with_s_is_not_armed(service):
    """Without site there is nobody who could arm it."""
    process = service(WAITS, "-S")

    assert gencore_command("dump", process.pid).returncode == 6


def test_a_search_that_finds_nothing_is_exit_code_6():
    """As a process that is gone: not a success without artefacts."""
    done = gencore_command("dump", "--name", "no such*")

    assert done.returncode == 6
    assert "no armed process is named 'no such*'" in done.stderr


def test_without_a_process_it_is_a_wrong_use():
    """And the remedy lists those that there are."""
    done = gencore_command("dump")

    assert done.returncode == 2
    assert "gencore ps" in done.stderr


def test_a_forked_child_is_armed_under_its_own_pid(service, tmp_path):
    """And children are found from their parent."""
    process = service(FORKS)
    child = int(process.line)

    done = gencore_command("dump", process.pid, "--children", "-o", tmp_path, "--quiet")

    assert done.returncode == 0, done.stderr
    pids = [manifest_of(path)["process"]["pid"] for path in done.stdout.splitlines()]
    assert pids == [process.pid, child]


def test_ps_lists_what_is_armed(service):
    """With what an operator chooses by."""
    process = service(WAITS)

    rows = json.loads(gencore_command("ps", "--json").stdout)["processes"]
    (row,) = (row for row in rows if row["pid"] == process.pid)

    assert row["argv"][0] == sys.executable
    assert (row["threads"], row["dumps"], row["last_dump"]) == (2, 0, None)
    assert row["memory_bytes"] > 1 << 20
    assert str(process.pid) in gencore_command("ps").stdout


def test_a_stopped_process_is_exit_code_6(service, monkeypatch):
    """It answers nobody, and is not waited for: the remedy lets it go on."""
    from gencore_backends.linux import agent_client

    monkeypatch.setattr(agent_client, "_PATIENCE", 600.0)  # longer than a test may take
    process = service(WAITS)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for_state(process.pid, "T")

    with pytest.raises(gencore.TargetUnavailable, match="does not answer") as raised:
        gencore.Pipeline(target=process.pid).start()

    assert raised.value.remedy == f"kill -CONT {process.pid}"
    assert process.pid not in {found.pid for found in gencore.armed_processes()}


def test_a_process_that_is_stopped_for_a_moment_is_waited_for(service, monkeypatch):
    """What limits its share of a processor (cpulimit) stops it many times a second."""
    from gencore_backends.linux import agent_client

    process = service(WAITS)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for_state(process.pid, "T")
    monkeypatch.setattr(agent_client, "_STOPPED_FOR_GOOD", 600.0)
    waits = []

    def let_it_go_on(seconds):
        waits.append(seconds)
        os.kill(process.pid, signal.SIGCONT)

    monkeypatch.setattr(time, "sleep", let_it_go_on)
    with agent_client.ask(Target(process.pid)) as answer:
        assert answer.values["pid"] == process.pid
    assert waits


TRACES = """
import ctypes, os, sys
ATTACH = 16
for thread in os.listdir(f"/proc/{sys.argv[1]}/task"):
    failed = ctypes.CDLL(None).ptrace(ATTACH, int(thread), None, None)
print("refused" if failed else "ready", flush=True)
sys.stdin.read()
"""


def test_a_process_that_a_debugger_holds_names_that(service, monkeypatch):
    """SIGCONT would not let it go on: whoever traces it has to."""
    from gencore_backends.linux import agent_client

    monkeypatch.setattr(agent_client, "_PATIENCE", 0.1)
    process = service(WAITS)
    command = [sys.executable, "-c", TRACES, str(process.pid)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as tracer:
        if tracer.stdout.readline() != "ready\n":
            pytest.skip("may not trace another process")
        wait_for_state(process.pid, "t")

        with pytest.raises(gencore.TargetUnavailable, match=f"{tracer.pid} traces it") as e:
            agent_client.ask(Target(process.pid))

    assert e.value.remedy == f"end that one, or let it detach: ps -fp {tracer.pid}"


def wait_for_state(pid, state):
    """Wait until the kernel says so."""
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        assert time.monotonic() < end
        time.sleep(0.01)


ASKS_AS_ANOTHER = """
import os, sys
from gencore import TargetUnavailable
from gencore.target import Target
from gencore_backends.linux.agent_client import ask

ask(Target(int(sys.argv[1]))).close()
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
try:
    ask(Target(int(sys.argv[1])))
except TargetUnavailable as error:
    print(error)
"""


def answer_to_another_user(process):
    """Return what another user is told who asks for a dump of *process*."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    command = [sys.executable, "-c", ASKS_AS_ANOTHER, str(process.pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_another_user_is_refused(service):
    """Root may dump anybody's process; another user nobody's but their own."""
    process = service(WAITS)

    assert answer_to_another_user(process) == (
        f"process {process.pid}: it belongs to another user. "
        "Remedy: ask as that user, or as root\n"
    )


CHANGES_ITS_USER = """
import os, sys
os.setgid(12345)
os.setuid(12345)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_process_that_only_root_may_look_at_does_not_belong_to_another_user(service):
    """To ask as its user would change nothing: the kernel considers it not dumpable."""
    process = service(CHANGES_ITS_USER)

    assert answer_to_another_user(process) == (
        f"process {process.pid}: it has rights that this process lacks, or is not dumpable "
        f"(prctl(2)). Remedy: sudo gencore dump --allow-undumpable {process.pid}\n"
    )


def test_a_bundle_is_whole_although_its_process_was_killed(service, tmp_path):
    """The clone's life is its reader's: the service may end as soon as the pause is over."""
    process = service(WAITS)

    dump = gencore.Pipeline(target=process.pid, directory=tmp_path).start()
    process.kill()
    process.wait()
    report = dump.result(100)

    assert report.result == "complete", report.problems
    assert gencore_command("verify", report.path_of("archive")).returncode == 0


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_killed_requester_leaves_no_clone(service, tmp_path):
    """Nobody reads it any more, so it ends; the service goes on and can be dumped again."""
    process = service(WAITS)
    halves = (
        "import gencore, os, sys, time\n"
        "class Slow(gencore.Collector):\n"
        "    name, api_version = 'slow', (1, 1)\n"
        "    def begin(self, dump):\n"
        "        print('begins', flush=True)\n"
        "        time.sleep(1000)\n"
        "    def finish(self, dump): pass\n"
        "gencore.Pipeline(target=int(sys.argv[1]), directory=sys.argv[2], "
        "collectors=[Slow]).run()\n"
    )
    command = [sys.executable, "-c", halves, str(process.pid), str(tmp_path)]
    requester = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert requester.stdout.readline() == "begins\n"
    threads = [path.name for path in Path(f"/proc/{process.pid}/task").iterdir()]
    clones = [c for tid in threads for c in _children_of_thread(process.pid, tid)]
    assert len(clones) == 1
    pidfd = os.pidfd_open(int(clones[0]))

    requester.kill()
    requester.communicate()

    assert select.select([pidfd], [], [], 20)[0]
    os.close(pidfd)
    assert gencore_command("dump", process.pid, "-o", tmp_path, "--quiet").returncode == 0


HAS_A_HEAP = """
import os, sys
ballast = os.urandom(112 << 20)
print("ready", flush=True)
sys.stdin.read()
"""
SAYS_ITS_PEAK = """
import atexit, sys
from gencore.cli import main
def say_peak():
    rows = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("peak", int(rows["VmHWM"].split()[0]) >> 10, file=sys.stderr)
say_peak()
atexit.register(say_peak)
main()
"""


def test_a_requester_needs_little_memory_however_large_the_heap(service, tmp_path):
    """Less than 64 MiB more than at its start: a trigger starts it where memory is short."""
    process = service(HAS_A_HEAP)

    done = subprocess.run(
        [sys.executable, "-c", SAYS_ITS_PEAK, "dump", str(process.pid), "-o", tmp_path, "--fit"],
        capture_output=True,
        text=True,
        check=True,
    )

    begin, most = (int(row.split()[1]) for row in done.stderr.splitlines() if "peak" in row)
    assert most - begin < 64  # MiB
    (bundle,) = tmp_path.iterdir()
    assert bundle.stat().st_size > 112 << 20


def _children_of_thread(pid, tid):
    return Path(f"/proc/{pid}/task/{tid}/children").read_text().split()
