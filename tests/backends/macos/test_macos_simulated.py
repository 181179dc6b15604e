"""The Python part for macOS on a simulated one: settings and signature are set by the test.

The child is a real process; "macOS" is a shell script that writes its core and lets it abort.
Only what the status of waitpid(2) says of a core is pretended: Linux would write one of its own.
"""

import errno
import os
import re
import resource
import signal
import struct
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

import gencore
import gencore_backends.macos
from gencore import CoreFailed, DumpRequest, IntegrityError, Pipeline
from gencore.bundle.reader import BundleReader
from gencore.output import Output
from gencore.testing import BackendContract
from gencore_backends.macos.abort import MacosAbort
from gencore_backends.macos.core_pattern import CorePattern
from gencore_backends.macos.macho_core import Contents

HARDENED, GET_TASK_ALLOW, PLATFORM_BINARY = 0x10000, 0x4, 0x4000000
READABLE, LC_NOTE = 1, 0x31


def segment(address, memory_size, offset, file_size, protection=READABLE):
    """Return a struct segment_command_64 of <mach-o/loader.h>."""
    sizes = (address, memory_size, offset, file_size)
    return struct.pack("<II16s4Q2i2I", 0x19, 72, b"", *sizes, 7, protection, 0, 0)


def thread_state():
    """Return a struct thread_command with a small state."""
    return struct.pack("<IIII8s", 0x4, 24, 1, 2, b"register")


def header(*commands, magic=0xFEEDFACF, kind=4, count=None):
    """Return a struct mach_header_64 and the load commands."""
    size = sum(map(len, commands))
    number = len(commands) if count is None else count
    return struct.pack("<8I", magic, 0x100000C, 0, kind, number, size, 0, 0) + b"".join(commands)


def mach_core(memory=b"memory" * 1000, *commands):
    """Return a whole core of one segment and one thread."""
    head = header(segment(0x1000, len(memory), 4096, len(memory)), thread_state(), *commands)
    return head.ljust(4096, b"\0") + memory


class SimulatedMac:
    """Has the functions of the native module. A test changes its attributes."""

    def __init__(self, directory):
        self.cores = directory / "cores"
        self.cores.mkdir()
        self.source = directory / "the core"
        self.source.write_bytes(mach_core())
        self.corefile = f"{self.cores}/core.%P"
        self.place = f"{self.cores}/core.$$"
        self.last_words = "kill -ABRT $$"
        self.settings = {"kern.coredump": 1, "kern.sugid_coredump": 0}
        self.flags = 0
        self.ids_differ = False
        self.sizes = 10_000, 1 << 40
        self.paths = [sys.executable]
        self.failure = None
        self.excluded = None
        self.pid = None
        self.dumped = lambda status: os.WTERMSIG(status) == signal.SIGABRT

    def has_core(self, status):
        return self.dumped(status)

    def snapshot(self, directory_fd, excluded):
        self.excluded = excluded
        script = f'ulimit -c 0; cd "$1"; {{ cp "$2" {self.place}; chmod 400 {self.place}; }}'
        script = f"{script}; {self.last_words}" if self.place else self.last_words
        directory = os.readlink(f"/proc/self/fd/{directory_fd}")
        command = ["sh", "-c", script, "sh", directory, str(self.source)]
        self.pid = os.posix_spawn("/bin/sh", command, os.environ)
        reader, writer = os.pipe()
        if self.failure:
            os.write(writer, "{} {}".format(*self.failure).encode())
        os.close(writer)
        return self.pid, reader

    def read_failure(self, status_fd):
        step, _, number = os.read(status_fd, 100).decode().partition(" ")
        return (step, int(number)) if step else None

    def sysctl_text(self, name):
        assert name == "kern.corefile"
        return self.corefile

    def sysctl_number(self, name):
        return self.settings[name]

    def code_signing_flags(self):
        return self.flags

    def identity(self):
        return "python3.13", self.ids_differ

    def memory(self):
        return self.sizes

    def threads(self):
        return [(threading.get_native_id(), "caller"), (4711, "worker")]

    def images(self):
        return self.paths


@pytest.fixture
def mac(monkeypatch, tmp_path_factory):
    """Make this process believe that it runs on a Mac where everything is as it should be."""
    mac = SimulatedMac(tmp_path_factory.mktemp("mac"))
    sysconfig.get_config_vars()  # kept by sysconfig; on the pretended platform it finds none
    monkeypatch.setitem(sys.modules, "gencore_backends.macos._native", mac)
    monkeypatch.setattr(gencore_backends.macos, "_native", mac, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "WCOREDUMP", mac.has_core)
    unlimited = (0, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    return mac


@pytest.fixture
def dump(mac, tmp_path):
    """Return a function that makes a dump and keeps the core."""
    assert mac

    def make(**options):
        pipeline = Pipeline(
            backend=MacosAbort(), collectors=["raw"], directory=tmp_path, **options
        )
        return pipeline.run()

    return make


@pytest.fixture
def taken(mac, tmp_path):
    """Return a function that forks the simulated child, and closes what is left of it."""
    with Output(tmp_path, "dump") as output:
        snapshots = []

        def take():
            assert MacosAbort().probe(DumpRequest()).ok
            snapshots.append(MacosAbort().snapshot(DumpRequest(), output, to_file=True))
            return snapshots[0]

        yield take
        for snapshot in snapshots:
            snapshot.close()
    with pytest.raises(ChildProcessError):  # no zombie
        os.waitpid(mac.pid, os.WNOHANG)


@pytest.fixture
def other_file_system():
    """Return a directory on another file system than tmp_path's, and see that nothing stays."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield directory
        assert os.listdir(directory) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/cores/core.%P", "/cores/core.42"),
        ("/cores/%U/%N-%P", f"/cores/{os.geteuid()}/python3.13-42"),
        ("%N.core", "python3.13.core"),
        ("100%%.%P", "100%.42"),
        ("%T%N%x", "python3.13"),  # unknown specifiers disappear
        ("core.%P%", "/cores/core.42"),  # a lone "%" at the end: the kernel's default
        ("%P" * 600, "/cores/core.42"),  # longer than MAXPATHLEN: the same
    ],
)
def test_every_specifier_of_kern_corefile_is_known(text, path):
    """As proc_core_name of XNU has them."""
    assert CorePattern(text, "python3.13").path(42) == Path(path)


def test_a_mac_where_everything_is_right_is_a_yes(mac):
    """With the size of the core, and what was looked at."""
    verdict = MacosAbort().probe(DumpRequest())

    assert verdict.reasons == ()
    assert verdict.core_size == 10_000
    assert verdict.facts == {
        "kern.corefile": mac.corefile,
        "RLIMIT_CORE hard": "unlimited",
        "code signing flags": "0x00000000",
        "get-task-allow": "no",
    }


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        ({"settings": {"kern.coredump": 0}}, "kern.coredump is 0", "sysctl kern.coredump=1"),
        (
            {"ids_differ": True, "settings": {"kern.coredump": 1, "kern.sugid_coredump": 0}},
            "changed its user or group",
            "start it as the user",
        ),
        ({"corefile": ""}, "yields no name", "kern.corefile=core.%P"),
        ({"corefile": "%x"}, "yields no name", "kern.corefile=core.%P"),
        ({"corefile": "dumps/core.%P"}, "a subdirectory", "kern.corefile=core.%P"),
        ({"corefile": "../core.%P"}, "a subdirectory", "kern.corefile=core.%P"),
        ({"corefile": "/dev/null"}, "turns cores off", "kern.corefile=/cores/core.%P"),
        ({"corefile": "/cores/%N.core"}, "has no %P", "kern.corefile=/cores/core.%P"),
        ({"corefile": "/cores/%P/core"}, "does not exist", "kern.corefile=/cores/core.%P"),
        ({"corefile": "/nowhere/core.%P"}, "/nowhere, where macOS", "sudo mkdir -m 1777 /nowhere"),
        ({"sizes": (1 << 62, 1)}, "bytes, but only", "free some space there"),
        ({"flags": HARDENED}, "com.apple.security.get-task-allow", "codesign -s - -f --entitle"),
        ({"flags": PLATFORM_BINARY}, "is part of macOS", "that is not part of macOS"),
    ],
)
def test_each_reason_against_a_core_has_its_remedy(mac, changes, text, remedy):
    """Nothing else is wrong, so it is the only reason."""
    vars(mac).update(changes)

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert text in reason.text
    assert remedy in reason.remedy


@pytest.mark.parametrize("flags", [HARDENED | GET_TASK_ALLOW, PLATFORM_BINARY | GET_TASK_ALLOW])
def test_the_entitlement_permits_cores_of_a_hardened_runtime(mac, flags):
    """That is what it is for."""
    mac.flags = flags

    assert MacosAbort().probe(DumpRequest()).ok


def test_the_remedy_signs_the_executable_that_runs(mac):
    """Not the launcher that sys.executable names: python.org's starts another file."""
    mac.flags = HARDENED
    mac.paths = ["/Library/Python.app/Contents/MacOS/Python"]

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert reason.remedy.endswith(" /Library/Python.app/Contents/MacOS/Python")


def test_only_full_cores_are_offered(mac):
    """The remedy is to ask for one."""
    assert mac

    (reason,) = MacosAbort().probe(DumpRequest(content="private")).reasons

    assert reason.remedy == "pass content='full'"


def test_a_directory_that_is_not_writable_is_named(mac, monkeypatch):
    """The remedy opens it; /cores is so by default for users who are not administrators."""
    monkeypatch.setattr(os, "access", lambda path, _: path != mac.cores)

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert reason.remedy == f"sudo chmod 1777 {mac.cores}"


@pytest.mark.parametrize("hard", [0, 1 << 40])
def test_the_limit_must_be_above_the_address_space(mac, monkeypatch, hard):
    """The kernel compares it with that, not with the size of the core."""
    assert mac.sizes[1] == 1 << 40
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, hard))

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert "RLIMIT_CORE has a hard limit of" in reason.text
    assert reason.remedy.startswith("start the process with a higher limit: ulimit -Hc unlimited")


def test_ignored_children_are_a_reason(mac):
    """Nobody would learn that there is a core."""
    assert mac
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        (reason,) = MacosAbort().probe(DumpRequest()).reasons
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert reason.remedy == "signal.signal(signal.SIGCHLD, signal.SIG_DFL)"


def test_all_reasons_are_given_at_once(mac):
    """So that one visit to the administrator is enough."""
    mac.settings["kern.coredump"] = 0
    mac.flags = HARDENED

    assert len(MacosAbort().probe(DumpRequest(content="stacks")).reasons) == 3


def test_a_mac_that_does_not_answer_is_a_no(mac, monkeypatch):
    """A sandbox may forbid sysctl(3)."""

    def forbidden(name):
        raise PermissionError(errno.EPERM, "Operation not permitted", name)

    monkeypatch.setattr(mac, "sysctl_text", forbidden)

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert "kern.corefile" in reason.text


@pytest.mark.parametrize("corefile", ["core.%P", "core", "%N.%P"])
def test_a_relative_pattern_puts_the_core_into_the_private_directory(mac, dump, corefile):
    """From there it becomes the artefact."""
    mac.corefile = corefile
    mac.place = corefile.replace("%P", "$$").replace("%N", "python3.13")

    report = dump()

    assert report.result == "complete"
    assert report.path_of("raw").read_bytes() == mach_core()


def test_a_core_is_taken_from_where_the_pattern_sends_it(mac, dump):
    """And is gone there afterwards."""
    report = dump()

    assert report.result == "complete"
    assert report.path_of("raw").read_bytes() == mach_core()
    assert list(mac.cores.iterdir()) == []


def test_a_core_is_taken_from_another_file_system(mac, other_file_system, taken):
    """/cores is on the system's disk, the output may be on another. The copy takes its place."""
    mac.corefile, mac.place = f"{other_file_system}/core.%P", f"{other_file_system}/core.$$"

    core = taken().core()

    assert b"".join(map(bytes, core)) == mach_core()
    assert os.listdir(other_file_system) == []


def test_a_truncated_core_is_never_called_complete(mac, dump):
    """It is kept under a name that says so."""
    mac.source.write_bytes(mach_core()[:-10])

    report = dump()

    assert report.result == "partial"
    assert [part.reason for part in report.failed] == ["truncated: 10,086 of 10,096 bytes"]
    assert report.artifacts[0].path.name.endswith(".truncated.core")


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        (bytes(4096), "no header"),
        (b"", "no header"),
        (mach_core()[:20], "not a 64-bit Mach-O core"),
        (header(magic=0xFEEDFACE), "not a 64-bit Mach-O core"),
        (header(kind=2), "not a 64-bit Mach-O core"),
        (header(thread_state())[:-1], "truncated: 23 of 24 bytes of commands"),
        (header(thread_state(), count=2), "fewer load commands than"),
        (header(struct.pack("<II", 4, 0)), "the load command at 0 has an invalid size"),
        (header(struct.pack("<II", 0x19, 8)), "the load command at 0 has an invalid size"),
        (header(struct.pack("<II", 4, 4000)), "the load command at 0 has an invalid size"),
    ],
)
def test_what_is_no_mach_o_core_is_refused(tmp_path, core, reason):
    """Each with what is wrong."""
    (tmp_path / "core").write_bytes(core)

    with (
        (tmp_path / "core").open("rb", buffering=0) as file,
        pytest.raises(IntegrityError, match=reason),
    ):
        Contents.read(file)


@pytest.mark.parametrize(
    ("commands", "flaw"),
    [
        ((thread_state(),), "no memory"),
        ((segment(0, 8, 0, 8),), "no registers"),
        ((segment(0, 8, 0, 8), thread_state()), None),
    ],
)
def test_a_core_needs_memory_and_registers(tmp_path, commands, flaw):
    """Without them no debugger can begin."""
    (tmp_path / "core").write_bytes(header(*commands))

    with (tmp_path / "core").open("rb", buffering=0) as file:
        found = Contents.read(file).flaw(free=0)

    assert found is None if flaw is None else found.startswith(flaw)


def test_a_note_is_part_of_the_core(mac, dump):
    """The notes come after the memory: without them the core is truncated."""
    mac.source.write_bytes(
        mach_core(bytes(8), struct.pack("<II16sQQ", LC_NOTE, 40, b"", 5000, 16))
    )

    assert [part.reason for part in dump().failed] == ["truncated: 4,104 of 5,016 bytes"]


def about_memory(report):
    """Return the warnings but the one that counts threads: fork(2) copies only the caller."""
    return [warning for warning in report.warnings if "have no registers" not in warning]


@pytest.mark.parametrize(("lacking", "result"), [(4096, "complete"), (1 << 60, "partial")])
def test_memory_that_was_not_written_is_named(mac, dump, lacking, result):
    """Devices' memory is none of the core's; but more than the disk had free was not written."""
    mac.source.write_bytes(mach_core(bytes(8), segment(0x9000, lacking, 0, 0)))

    report = dump()

    assert report.result == result
    (warning,) = about_memory(report)
    assert f"{lacking:,} bytes of memory in 1 regions are not in the core" in warning
    assert bool(report.failed) == (result == "partial")


def test_memory_that_nobody_may_read_is_not_missed(mac, dump):
    """A guard page is empty in every core."""
    mac.source.write_bytes(mach_core(bytes(8), segment(0x9000, 4096, 0, 0, protection=0)))

    assert about_memory(dump()) == []


def test_no_core_is_a_failure_with_the_commands_that_help(mac, dump):
    """The signature is the usual reason, and the last that could not be asked."""
    mac.place, mac.dumped = "", lambda _: False

    report = dump()

    assert report.result == "failed"
    (part,) = report.failed
    assert "macOS wrote no core (the child ended with -6)" in part.reason
    assert "codesign -s - -f --entitlements" in part.reason


def test_a_step_that_fails_in_the_child_is_named(mac, dump):
    """With the system's reason."""
    mac.failure = "enter-directory", errno.EACCES

    (part,) = dump().failed

    assert "step 'enter-directory' failed: Permission denied (EACCES)" in part.reason


def test_a_fork_that_fails_is_named(mac, dump, monkeypatch):
    """With what to do about it, before anything is made."""

    def refuse(*_):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable", "fork")

    monkeypatch.setattr(mac, "snapshot", refuse)

    with pytest.raises(CoreFailed, match=r"step 'fork' failed.*ulimit -u"):
        dump()


def test_a_core_that_is_not_where_it_should_be_is_a_failure(mac, dump):
    """The setting may have been changed in the moment between."""
    mac.place = ""

    (part,) = dump().failed

    assert re.search(r"step 'find-core' failed: .*core\.\d+", part.reason)


def test_an_older_core_of_that_name_is_neither_taken_nor_removed(mac, dump, monkeypatch):
    """Process ids come again."""
    clock = SimpleNamespace(time=lambda: time.time() + 60, perf_counter=time.perf_counter)
    monkeypatch.setattr("gencore_backends.macos.snapshot.time", clock)

    (part,) = dump().failed

    assert "step 'find-core' failed" in part.reason
    assert len(list(mac.cores.iterdir())) == 1


def test_an_abort_ends_the_wait(mac, taken):
    """Here the child has stopped for ever in the middle of its core."""
    mac.last_words = "kill -STOP $$"
    snapshot = taken()
    timer = threading.Timer(0.05, snapshot.abort)
    timer.start()

    with pytest.raises(CoreFailed, match="aborted"):
        snapshot.core()

    timer.join()


def test_an_abort_ends_the_copy(mac, other_file_system, taken):
    """A core that was written is not copied for nobody, and does not stay there."""
    mac.corefile, mac.place = f"{other_file_system}/core.%P", f"{other_file_system}/core.$$"
    snapshot = taken()
    mac.dumped = lambda _: snapshot.abort() is None  # after the wait, before the copy

    with pytest.raises(CoreFailed, match="aborted"):
        snapshot.core()


def test_a_dump_that_takes_too_long_leaves_nothing(mac, dump):
    """Neither the child nor what it has written so far."""
    mac.last_words = "kill -STOP $$"

    report = dump(timeout=0.3)

    assert report.result == "failed"
    assert list(mac.cores.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(mac.pid, 0)


def test_a_child_that_the_application_reaps_is_a_failure(mac, taken, monkeypatch):
    """Its end is not known, and its number may be another's already: nothing is killed."""
    snapshot = taken()
    os.waitpid(mac.pid, 0)
    killed = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))

    with pytest.raises(CoreFailed, match="the application reaped the child") as failure:
        snapshot.core()
    snapshot.abort()

    assert failure.value.errno == errno.ECHILD
    assert killed == []


def test_a_child_that_was_reaped_here_is_not_killed(taken, monkeypatch):
    """Its number may be another's."""
    snapshot = taken()
    snapshot.core()
    killed = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))

    snapshot.abort()

    assert killed == []


def test_progress_is_what_is_on_the_disk(mac, taken):
    """Here the child has stopped when its core is almost done."""
    mac.source.write_bytes(mach_core(b"x" * 100_000))
    mac.last_words = "kill -STOP $$"
    snapshot = taken()
    os.waitid(os.P_PID, mac.pid, os.WSTOPPED | os.WNOWAIT)

    assert snapshot.written >= 100_000


def test_the_callers_registers_are_in_the_core_and_no_others(taken):
    """A fork has one thread; the others are named, with the reason."""
    caller, other = taken().threads

    assert (caller.tid, caller.registers) == (threading.get_native_id(), "exact")
    assert (other.tid, other.name, other.registers) == (4711, "worker", "missing")
    assert "fork(2) copies only the calling thread" in other.reason


def test_libraries_are_those_that_have_a_file(mac, taken, tmp_path):
    """The executable first, each once; macOS's own are in the shared cache only."""
    gone = str(tmp_path / "gone.dylib")
    mac.paths = [
        sys.executable,
        "/usr/lib/libSystem.B.dylib",
        "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation",
        gone,
        sys.executable,
    ]

    assert [file.path for file in taken().mapped_files()] == [sys.executable, gone]


def test_a_bundle_is_made_of_it(mac, tmp_path):
    """Complete, although no file is there for the libraries of macOS; the format has its name."""
    mac.paths.append("/usr/lib/libSystem.B.dylib")
    pipeline = Pipeline(
        backend=MacosAbort(), collectors=["manifest", "archive"], directory=tmp_path
    )

    report = pipeline.run()

    assert (report.result, report.problems) == ("complete", ())
    with BundleReader(report.path_of("archive")) as bundle:
        manifest = bundle.manifest()
    assert manifest["core"]["format"] == "mach-o"
    assert manifest["process"]["executable"]["path"] == sys.executable
    assert [row["registers"] for row in manifest["threads"]][:2] == ["exact", "missing"]


def test_excluded_memory_is_wiped_in_the_child(mac, dump):
    """The native part is told where it is."""
    secret = bytearray(b"secret")

    with gencore.exclude(secret) as exclusion:
        dump()

    assert mac.excluded == ((exclusion.start, exclusion.end),)


class TestContract(BackendContract):
    """The published suite, as far as a core in Mach-O can pass it."""

    capabilities = frozenset({"dump", "mapped-files"})
    known_failures: ClassVar = {"test_its_core_is_whole": "gencore.corefile reads ELF only"}

    @pytest.fixture
    def backend(self, mac):
        assert mac
        return MacosAbort()
