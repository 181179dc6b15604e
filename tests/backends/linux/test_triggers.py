"""Triggers of an armed process: when they fire, how often, and what the dump then says."""

import contextlib
import os
import re
import resource
import select
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gencore.bundle import BundleReader
from gencore.target import Target
from gencore_backends.linux.agent_client import ask_to_collapse

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's"),
    pytest.mark.timeout(200),  # many seconds in all; see conftest.py on the order
]

LOOKS = 3
"""So many looks of the agent are waited for where nothing is to happen."""


class Service:
    """A process with triggers, which runs what it is sent, and whose messages can be read."""

    BEGIN = """
import os, re, sys, threading, time
import gencore
from gencore import Trigger
gencore.arm(triggers=[{triggers}], directory={directory!r})
{code}
print("ready", flush=True)
for line in sys.stdin:
    exec(eval(line))
    print("done", flush=True)
"""

    def __init__(self, directory, triggers, code):
        directory.mkdir(exist_ok=True)
        self.directory = directory
        text = self.BEGIN.format(triggers=triggers, directory=str(directory), code=code)
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(text)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n"

    def send(self, code):
        self.process.stdin.write(f"{textwrap.dedent(code)!r}\n")
        self.process.stdin.flush()

    def run(self, code):
        self.send(code)
        assert self.process.stdout.readline() == "done\n"

    def next_line(self):
        """Return the next line that the agent writes."""
        for line in self.process.stderr:
            if line.startswith("gencore: "):
                return line.removeprefix("gencore: ").rstrip()
        raise AssertionError("the process ended without a line of the agent")

    def let_it_look(self, times=LOOKS):
        """Wait until the agent has looked so many times."""
        while (agent := self.agent_thread()) is None:  # it has not begun
            select.select([], [], [], 0.01)

        def switches():
            return int(re.search(r"\nvoluntary_ctxt_switches:\t(\d+)", agent.read_text())[1])

        until = switches() + times
        while switches() < until:
            select.select([], [], [], 0.05)

    def agent_thread(self):
        """Return what the kernel says of the agent's thread, once it has its name."""
        files = Path(f"/proc/{self.pid}/task").glob("*/status")
        return next((file for file in files if "gencore-agent" in file.read_text()), None)

    def dumps(self, count):
        """Wait for so many dumps; return their manifests, oldest first."""
        while len(found := sorted(self.directory.glob("*.tar.gz"))) < count:
            select.select([], [], [], 0.05)
        return [manifest_of(bundle) for bundle in found]

    def end(self):
        """End it; return what it and the dumps that are in progress have written since."""
        self.process.kill()
        return self.process.communicate()[1]


def manifest_of(bundle):
    with BundleReader(bundle) as reader:  # its table leads there; tar would unpack all the core
        return reader.manifest()


@pytest.fixture
def service(tmp_path):
    """Return a function that starts one."""
    started = []

    def start(triggers, code=""):
        started.append(Service(tmp_path / "dumps", triggers, code))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)  # with its children
        one.process.communicate()


def assert_dumped_for(manifest, kind, reason):
    """The dump is whole, and says which trigger fired; its reason begins like that."""
    assert manifest["status"]["result"] == "complete", manifest["status"]
    assert manifest["trigger"]["kind"] == kind
    assert manifest["trigger"]["reason"].startswith(reason)


def assert_measured(manifest, threshold, unit, *, within):
    """The trigger compared this with what was measured, which was above, and below *within*."""
    trigger = manifest["trigger"]
    assert (trigger["threshold"], trigger["unit"]) == (threshold, unit)
    assert threshold <= trigger["measured"] < within


def test_memory_fires_once_at_its_bound(service):
    """And not again for as long as it stays above, though interval and count would allow it."""
    swells = service("Trigger('memory', '90 MiB', interval=0)")
    swells.let_it_look()
    assert not list(swells.directory.iterdir())

    swells.run("memory = bytearray(os.urandom(1 << 20)) * 90")

    line = swells.next_line()
    assert re.fullmatch(r"memory: \d+ MiB are resident: dump started \(1 of 3\)", line)
    (manifest,) = swells.dumps(1)
    assert_dumped_for(manifest, "memory", line.partition(": dump")[0])
    assert_measured(manifest, 90 << 20, "bytes", within=180 << 20)
    swells.let_it_look()
    assert "gencore:" not in swells.end()


def test_a_limit_on_the_address_space_is_a_limit_of_memory(service):
    """Allocations fail there, whatever the machine has left; the dump fits below it, too."""
    limited = service("Trigger('memory', '80%')")
    limited.let_it_look()
    resource.prlimit(limited.pid, resource.RLIMIT_AS, (640 << 20, 640 << 20))

    limited.run("room = 560 * (1 << 20) - int(open('/proc/self/statm').read().split()[0]) * 4096")
    limited.run("memory = bytearray(room)")

    line = limited.next_line()
    assert re.fullmatch(
        r"memory: 5\d\d of 640 MiB of address space: dump started \(1 of 3\)", line
    )
    (manifest,) = limited.dumps(1)
    assert_dumped_for(manifest, "memory", "memory: ")
    assert_measured(manifest, 80, "percent", within=100)


def test_a_share_is_that_of_the_cgroup_and_the_dump_fits_into_it(service, cgroup):
    """It has less content where there is no room for all that a clone may copy."""
    limited = service("", "")
    cgroup(limited.pid, 350 << 20)
    armed = (
        f"gencore.arm(triggers=[Trigger('memory', '50%')], directory={str(limited.directory)!r})"
    )
    limited.run(armed)
    limited.let_it_look()

    limited.run("memory = bytearray(os.urandom(1 << 20)) * 200")

    line = limited.next_line()  # of any look while it grows
    assert re.fullmatch(r"memory: [12]\d\d of 350 MiB: dump started \(1 of 3\)", line)
    (manifest,) = limited.dumps(1)
    assert_dumped_for(manifest, "memory", "memory: ")
    assert_measured(manifest, 50, "percent", within=100)
    assert re.search(r"; content private: 1\d\d MiB are free", manifest["trigger"]["reason"])


def test_processes_that_share_a_limit_are_dumped_one_after_the_other(service, cgroup):
    """All of them are above it at once, and dumps at the same time would exceed it."""
    both = [service("", ""), service("", "")]
    for one in both:
        cgroup(one.pid, 350 << 20)
        one.run(
            "gencore.arm(triggers=[Trigger('memory', '40%', count=1)], "
            f"directory={str(one.directory)!r})"
        )
    both[0].run("memory = bytearray(os.urandom(1 << 20)) * 150")

    for one in both:
        assert re.fullmatch(r"memory: .* of 350 MiB: dump started \(1 of 1\)", one.next_line())

    assert list(both[0].directory.glob("*.tar.gz"))  # the first one is done
    assert {manifest["process"]["pid"] for manifest in both[0].dumps(2)} == {
        one.pid for one in both
    }


def test_a_gil_that_is_not_given_back_fires(service):
    """While no Python runs at all."""
    hangs = service("Trigger('gil', '1s')")

    hangs.send("re.match('(a|a?)+$', 'a' * 40 + 'b')")

    assert re.fullmatch(r"GIL: [12] s without getting it: dump started .*", hangs.next_line())
    (manifest,) = hangs.dumps(1)
    assert_dumped_for(manifest, "gil", "GIL: ")
    assert_measured(manifest, 1, "seconds", within=10)


def test_a_stopped_process_has_not_hung(service):
    """It is the agent too that did not run: that time is no part of a stall."""
    stopped = service("Trigger('gil', '3s')")
    stopped.send("re.match('(a|a?)+$', 'a' * 40 + 'b')")
    stopped.let_it_look(2)
    os.kill(stopped.pid, signal.SIGSTOP)
    select.select([], [], [], 3.5)  # the time that does not count
    os.kill(stopped.pid, signal.SIGCONT)

    stopped.let_it_look(2)

    assert stopped.end() == ""


def test_a_signal_fires_as_often_as_its_count(service):
    """Then the line says that nothing was dumped."""
    asked = service("Trigger('signal', 'SIGRTMIN+5', interval=0, count=2)")
    number = signal.SIGRTMIN + 5
    for dump in (1, 2):
        os.kill(asked.pid, number)
        assert asked.next_line() == f"signal: {number}: dump started ({dump} of 2)"
        manifest = asked.dumps(dump)[-1]
        assert_dumped_for(manifest, "signal", f"signal: {number}")
        assert manifest["trigger"]["signal"] == number
        assert manifest["trigger"]["measured"] is None

    os.kill(asked.pid, number)

    assert "not dumped" in asked.next_line()
    assert len(asked.dumps(2)) == 2


def test_a_trigger_fires_while_memory_is_collapsed(service):
    """What is left of it stays in small pages: the dump needs the agent."""
    asked = service("Trigger('signal', 'SIGRTMIN+5')", "memory = b'x' * (512 << 20)")
    rollup = Path(f"/proc/{asked.pid}/smaps_rollup")
    limits = {"total": 60, "stall": 60, "room": 1 << 40}
    with ThreadPoolExecutor() as pool:
        collapsing = pool.submit(ask_to_collapse, Target(asked.pid), **limits)
        while not re.search(r"AnonHugePages: +[1-9]", rollup.read_text()):
            pass
        os.kill(asked.pid, signal.SIGRTMIN + 5)
        *_, stopped, _ = collapsing.result()

    assert stopped == "interrupted"
    assert "dump started" in asked.next_line()
    assert_dumped_for(asked.dumps(1)[0], "signal", "signal: ")


def test_the_interval_keeps_the_next_dump_back(service):
    """Of the same trigger."""
    asked = service("Trigger('signal', 'SIGRTMIN+5', interval='1h')")
    os.kill(asked.pid, signal.SIGRTMIN + 5)
    assert "dump started" in asked.next_line()
    asked.dumps(1)

    os.kill(asked.pid, signal.SIGRTMIN + 5)

    assert "not dumped" in asked.next_line()


def test_a_condition_has_to_hold(service):
    """One that is true for a shorter time fires nothing, however often."""
    opens = service("Trigger('descriptors', 100, hold='1s', interval=0)")
    for _ in range(3):
        opens.run("files = [open(os.devnull) for _ in range(100)]")
        opens.let_it_look(2)
        opens.run("files.clear()")
        opens.let_it_look(2)
    assert not list(opens.directory.iterdir())

    opens.run("files = [open(os.devnull) for _ in range(100)]")

    assert re.fullmatch(r"descriptors: 1\d\d descriptors: dump started .*", opens.next_line())


EXHAUSTS = """
files = []
while True:
    try:
        files.append(open(os.devnull))
    except OSError:
        break
"""


@pytest.mark.parametrize("trigger", ["'descriptors', 200", "'memory', '1 MiB'"])
def test_a_process_without_descriptors_is_dumped(service, trigger):
    """That is when it is needed; the agent has kept what a dump takes."""
    leaks = service("", "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
    # What happens between two looks is not seen by any.
    triggers = f"[Trigger({trigger}, hold='1s')]"
    armed = f"gencore.arm(triggers={triggers}, directory={str(leaks.directory)!r})"
    leaks.run(armed + EXHAUSTS)

    assert re.fullmatch(r"\w+: .*: dump started \(1 of 3\)", leaks.next_line())
    (manifest,) = leaks.dumps(1)
    assert manifest["status"]["result"] == "complete", manifest["status"]
    leaks.run("files.clear(); gencore.disarm()")
    left = [os.readlink(file) for file in Path(f"/proc/{leaks.pid}/fd").iterdir()]
    assert len(left) == 3, left


def test_a_process_that_cannot_be_started_is_tried_again(service):
    """It is no dump, and said once; the condition holds all the time."""
    hangs = service("Trigger('gil', '1s')")
    soft, hard = resource.prlimit(hangs.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(hangs.pid, resource.RLIMIT_NOFILE, (1, hard))
    hangs.send("re.match('(a|a?)+$', 'a' * 40 + 'b')")
    assert "not dumped: no process can be started: errno 24" in hangs.next_line()

    resource.prlimit(hangs.pid, resource.RLIMIT_NOFILE, (soft, hard))

    assert "dump started (1 of 3)" in hangs.next_line()
    (manifest,) = hangs.dumps(1)
    assert_dumped_for(manifest, "gil", "GIL: ")


def test_it_fires_again_after_the_condition_was_false(service):
    """Once each time."""
    grows = service("Trigger('threads', 20, interval=0)")
    for dump in (1, 2):
        grows.run(
            """
            end = threading.Event()
            threads = [threading.Thread(target=end.wait) for _ in range(20)]
            for thread in threads:
                thread.start()
            """
        )
        assert f"({dump} of 3)" in grows.next_line()
        manifest = grows.dumps(dump)[-1]
        assert_dumped_for(manifest, "threads", "threads: ")
        assert_measured(manifest, 20, "threads", within=30)
        grows.run("end.set(); [thread.join() for thread in threads]")
        grows.let_it_look()
    assert "gencore:" not in grows.end()


def test_cpu_is_measured_in_shares_of_one(service):
    """Of all threads together."""
    works = service("Trigger('cpu', '30%', hold='1s')")
    works.let_it_look(6)
    assert not list(works.directory.iterdir())

    works.send("while True: pass")

    assert re.fullmatch(r"CPU: \d+ % of one CPU: dump started .*", works.next_line())


BUSY = """
import asyncio
def spin():
    while True:
        sum(range(1000))
def serve():
    async def main():
        gencore.watch(asyncio.get_running_loop())
        while True:
            await asyncio.sleep(0.01)
            sum(range(10000))
    asyncio.run(main())
for target in (spin, spin, spin, spin, serve):
    threading.Thread(target=target, daemon=True).start()
"""


@pytest.mark.parametrize("looks", [LOOKS, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_a_busy_and_healthy_process_does_not_fire(service, looks):
    """With every trigger set: threads that spin and a loop between them."""
    busy = service(
        "Trigger('memory', '95%'), Trigger('gil', '4s'), Trigger('loop', '8s'), "
        "Trigger('signal', 'SIGRTMIN+5'), Trigger('exception'), Trigger('cpu', '1000%'), "
        "Trigger('threads', 100), Trigger('descriptors', 500)",
        BUSY,
    )

    busy.let_it_look(looks)

    assert busy.end() == ""


def test_a_loop_that_does_not_turn_fires(service):
    """Because something in it blocks, while the GIL can be had."""
    serves = service("Trigger('loop', '1s'), Trigger('gil', '1s')", "import asyncio")

    serves.send(
        """
        async def main():
            with gencore.watch(asyncio.get_running_loop()):
                await asyncio.sleep(0.01)
                sys.stdin.read()
        asyncio.run(main())
        """
    )

    assert re.fullmatch(r"event loop: [12] s without turning: dump started .*", serves.next_line())
    assert_dumped_for(serves.dumps(1)[0], "loop", "event loop: ")
    assert "GIL" not in serves.end()


def test_a_loop_that_is_closed_is_not_waited_for(service):
    """Nor one whose watch is closed."""
    served = service("Trigger('loop', '1s')", "import asyncio")
    served.run(
        """
        async def main():
            gencore.watch(asyncio.get_running_loop())
            await asyncio.sleep(0.01)
        asyncio.run(main())
        loop = asyncio.new_event_loop()
        watch = gencore.watch(loop)
        loop.run_until_complete(asyncio.sleep(0.01))
        watch.close()
        """
    )

    served.let_it_look()

    assert served.end() == ""


def test_the_process_is_captured_before_it_ends_of_an_exception(service):
    """It ends as it would have: with its traceback, and with code 1."""
    fails = service("Trigger('exception')")

    fails.send("def fail(): raise ValueError('secret')\nfail()")
    _, printed = fails.process.communicate()

    assert fails.process.returncode == 1
    assert "ValueError: secret" in printed
    assert re.search(
        r"gencore: unhandled exception: builtins\.ValueError in fail, .*: dump st.*", printed
    )
    (manifest,) = fails.dumps(1)
    assert_dumped_for(manifest, "exception", "unhandled exception: builtins.ValueError in fail")
    assert "secret" not in manifest["trigger"]["reason"]


NAMES = {
    "several lines": ("E.__module__ = 'a\\nb\\x1b[2J'", r"a\\nb\\x1b\[2J\.E in fail"),
    "a null byte": ("E.__module__ = 'a\\0b'", r"a\\x00b\.E in fail"),
    "a long one": ("E.__module__ = 'aé' + 500 * 'é'", r"aé+"),
    "one that raises": ("class E(E, metaclass=Raises): pass", r"__main__\.E in fail"),
}


@pytest.mark.parametrize(
    "name",
    [
        "several lines",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in NAMES
            if name != "several lines"
        ),
    ],
)
def test_whatever_an_exception_is_called_it_is_one_line(service, name):
    """And the process is captured, and ends with its own message alone."""
    code, expected = NAMES[name]
    fails = service("Trigger('exception')")
    fails.run(
        """
        class Raises(type):
            __module__ = property(lambda _: 1 / 0)
        class E(Exception): pass
        """
    )
    fails.run(code)
    fails.send("def fail(): raise E\nfail()")
    _, printed = fails.process.communicate()

    assert re.match(rf"gencore: unhandled exception: {expected}.*: dump started", printed)
    assert "sys.excepthook" not in printed
    (manifest,) = fails.dumps(1)
    assert_dumped_for(manifest, "exception", "unhandled exception: ")
    assert manifest["trigger"]["reason"].isprintable()


def test_an_exception_during_another_dump_is_captured_too(service):
    """The process waits for the end of that dump, and then for its own instant."""
    fails = service("Trigger('signal', 'SIGRTMIN+5'), Trigger('exception')")
    fails.run("import random; memory = random.randbytes(96 << 20)")  # for some seconds
    os.kill(fails.pid, signal.SIGRTMIN + 5)
    assert "dump started" in fails.next_line()
    while not any(file.stat().st_size for file in fails.directory.glob(".*.part/*")):
        select.select([], [], [], 0.01)  # its core is not being written yet

    fails.send("raise ValueError")
    fails.process.communicate()

    first, second = fails.dumps(2)
    assert_dumped_for(first, "signal", "signal: ")
    assert_dumped_for(second, "exception", "unhandled exception: builtins.ValueError")


def test_exceptions_of_threads_and_loops_count_too(service):
    """Each of them, as those that a program does not catch."""
    fails = service("Trigger('exception', interval=0)", "import asyncio")

    fails.run("t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()")
    assert "ZeroDivisionError" in fails.next_line()
    fails.dumps(1)
    fails.run(
        """
        async def main():
            loop = asyncio.get_running_loop()
            gencore.watch(loop)
            loop.call_soon(lambda: [][0])
            await asyncio.sleep(0.01)
        asyncio.run(main())
        """
    )

    assert "IndexError" in fails.next_line()
    reason = "unhandled exception: builtins.IndexError"
    assert_dumped_for(fails.dumps(2)[-1], "exception", reason)


def test_a_child_has_the_triggers_with_counters_anew(service):
    """And its own process ID."""
    parent = service("Trigger('signal', 'SIGRTMIN+5', count=1), Trigger('gil', '1h')")
    number = signal.SIGRTMIN + 5
    os.kill(parent.pid, number)
    assert "(1 of 1)" in parent.next_line()
    parent.dumps(1)
    parent.run(
        """
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), 39)
            threading.Event().wait()
        """.replace("39", str(number))
    )

    assert parent.next_line() == f"signal: {number}: dump started (1 of 1)"
    pids = [manifest["process"]["pid"] for manifest in parent.dumps(2)]
    parent.run("os.kill(child, 9); os.waitpid(child, 0)")

    assert pids[0] == parent.pid
    assert pids[1] != parent.pid


def test_a_signal_alone_wakes_nobody_up(service):
    """There is nothing to look at until it comes."""
    asked = service("Trigger('signal', 'SIGRTMIN+5'), Trigger('exception')")
    while (file := asked.agent_thread()) is None or "State:\tS" not in file.read_text():
        select.select([], [], [], 0.01)

    before = re.findall(r"switches:\t(\d+)", file.read_text())
    select.select([], [], [], 1)  # the time that is measured

    assert re.findall(r"switches:\t(\d+)", file.read_text()) == before


def test_disarm_leaves_nothing_of_them(service):
    """No thread, and no handler of the signal."""
    armed = service("Trigger('signal', 'SIGRTMIN+5'), Trigger('gil', '5s')")
    armed.run("gencore.disarm()")

    assert os.listdir(f"/proc/{armed.pid}/task") == [str(armed.pid)]
    caught = re.search(r"SigCgt:\t(\w+)", Path(f"/proc/{armed.pid}/status").read_text())[1]
    assert not int(caught, 16) & 1 << signal.SIGRTMIN + 5 - 1


def test_a_signal_that_is_handled_is_refused(service):
    """The application's handler stays, and so do the triggers that were set before: none."""
    used = service("", "import signal\nsignal.signal(signal.SIGRTMIN + 5, lambda *_: None)")

    used.send("gencore.arm(triggers=[Trigger('signal', 'SIGRTMIN+5')])")

    assert "a signal of a trigger has a handler already" in used.process.communicate()[1]


def test_standard_error_that_is_another_file_is_not_written_to(service, tmp_path):
    """The application may have closed it, and its number be a file of data."""
    data = tmp_path / "data"
    data.touch()
    reopened = service("Trigger('signal', 'SIGRTMIN+5')")
    reopened.run(f"os.dup2(os.open({str(data)!r}, os.O_WRONLY), 2)")

    os.kill(reopened.pid, signal.SIGRTMIN + 5)

    reopened.dumps(1)
    assert data.read_bytes() == b""


@pytest.mark.parametrize("armed_by", ["the environment", "code"])
def test_triggers_of_the_file_are_those_of_a_process_that_is_armed(tmp_path, armed_by):
    """Whoever arms it, if there are no others; the dump goes where the file says."""
    config = tmp_path / "gencore.toml"
    config.write_text(
        f"directory = '{tmp_path}'\n"
        "triggers = ['gil=1h', { on = 'signal', above = 'SIGRTMIN+5', count = 1 }]"
    )
    environ = os.environ | {"GENCORE_CONFIG": str(config)}
    code = "import gencore, os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 5); input()"
    if armed_by == "code":
        code = f"import gencore; gencore.arm(); {code}"
    else:
        environ["GENCORE_ARM"] = "1"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environ,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr.readline().endswith("dump started (1 of 1)\n")
        while not (bundles := list(tmp_path.glob("*.tar.gz"))):
            select.select([], [], [], 0.05)
        process.communicate("\n")

    assert_dumped_for(manifest_of(bundles[0]), "signal", "signal: ")


def test_what_is_wrong_with_triggers_of_the_environment_is_said_once():
    """Although `site` runs the files of a virtual environment twice. The program starts."""
    done = subprocess.run(
        [sys.executable, "-c", "print('started')"],
        env=os.environ | {"GENCORE_ARM": "1", "GENCORE_TRIGGERS": "gul=3s"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "started\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("gencore: not armed as asked: GENCORE_TRIGGERS: on='gul' is not one of")


def test_exec_hands_triggers_on(tmp_path):
    """To every Python process below it, with the directory."""
    gencore = Path(sys.executable).with_name("gencore")
    command = [gencore, "exec", "--trigger", "signal=SIGRTMIN+5,count=1", "-o", "dumps", "--"]
    (tmp_path / "dumps").mkdir()
    code = "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 5); input()"
    with subprocess.Popen(
        [*command, sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr.readline().endswith("dump started (1 of 1)\n")
        while not list((tmp_path / "dumps").glob("*.tar.gz")):
            select.select([], [], [], 0.05)
        process.communicate("\n")

    (bundle,) = (tmp_path / "dumps").iterdir()
    assert_dumped_for(manifest_of(bundle), "signal", "signal: ")
