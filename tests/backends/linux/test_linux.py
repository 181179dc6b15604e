"""The Linux backend below its public surface: the clone's end, and how its core is found."""

import errno
import io
import mmap
import os
import platform
import re
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gencore
from gencore.corefile import CoreFile
from gencore.output import Output
from gencore.target import Target
from gencore.testing.simulated import simulated_core

if sys.platform != "linux":
    pytest.skip("the native part exists on Linux only", allow_module_level=True)

from gencore_backends.linux import _native, dumpable
from gencore_backends.linux.child import Child
from gencore_backends.linux.core_pattern import CorePattern
from gencore_backends.linux.growing_file import GrowingFile
from gencore_backends.linux.kernel_core import KernelCore
from gencore_backends.linux.proc import mapped_files
from gencore_backends.linux.process_access import THIS_PROCESS
from gencore_backends.linux.sigsegv import LinuxSigsegv
from gencore_backends.linux.sigsegv_snapshot import _find_absolute
from gencore_collectors.manifest import process

RT_SIGTIMEDWAIT = {"x86_64": 128, "aarch64": 137}.get(platform.machine())


@pytest.fixture
def big():
    """Hold enough memory for the kernel to write for a while."""
    return bytearray(os.urandom(1 << 20) * 64)


def test_the_caller_blocks_what_it_blocked_before(tmp_path):
    """During the clone it blocks all signals; after it, whether it worked or not, its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        with (tmp_path / "file").open("wb") as file:
            taken = []
            _native.snapshot_for_kernel(*(file.fileno(), 0xFF, (), False, "auto", 250, taken))
            after = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            Child(taken).close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert after == {*before, signal.SIGUSR2}


def test_a_step_that_fails_in_the_clone_is_told_with_its_errno(tmp_path):
    """The clone cannot enter what is no directory, and says so before it ends."""
    with (tmp_path / "file").open("wb") as file:
        taken = []
        _native.snapshot_for_kernel(*(file.fileno(), 0xFF, (), False, "caller", 250, taken))
        child = Child(taken)
        try:
            with pytest.raises(gencore.CoreFailed, match="ENOTDIR") as caught:
                child.wait_for_core()
        finally:
            child.close()

    assert (caught.value.step, caught.value.errno) == ("enter-directory", errno.ENOTDIR)


def test_the_clone_does_no_work_while_the_pause_lasts(tmp_path):
    """It waits for a signal, and says no more than that before it is told to go on."""
    with (tmp_path / "core").open("w+b") as file:
        taken = []
        _native.snapshot_to_elf(*(file.fileno(), "full", (), False, False, "caller", 250, taken))
        pid, _, status_fd = taken[0][:3]
        child = Child(taken)
        try:
            _wait_until_in_call(pid, RT_SIGTIMEDWAIT)
            said = [_native.read_message(status_fd) for _ in range(3)]
            assert said[-1] == ("step", "await-release", 0)
            assert select.select([status_fd], [], [], 0)[0] == []
            child.go_on()
            assert child.promised_sizes()[0] > 0
            assert child.why_unfinished() is None
        finally:
            child.close()


def test_no_signal_handler_of_the_application_can_run_in_the_clone(tmp_path):
    """Each that may have one is blocked from the first instruction, but the one it waits for."""
    with (tmp_path / "core").open("w+b") as file:
        taken = []
        _native.snapshot_to_elf(*(file.fileno(), "full", (), False, False, "caller", 250, taken))
        child = Child(taken)
        try:
            _wait_until_in_call(child.pid, RT_SIGTIMEDWAIT)
            blocked = re.search(r"SigBlk:\t(\w+)", Path(f"/proc/{child.pid}/status").read_text())
        finally:
            child.close()

    unblocked = {n for n in range(1, 65) if not int(blocked[1], 16) >> (n - 1) & 1}
    ignored = {n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN}
    by_default = {signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH}
    assert unblocked <= {signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT} | ignored | by_default


def test_the_clone_is_told_when_the_pause_is_over(tmp_path, monkeypatch):
    """Once for each dump, by whichever backend."""
    told = []
    go_on = Child.go_on
    monkeypatch.setattr(Child, "go_on", lambda child: told.append(child) or go_on(child))

    for backend in ("linux-elf", "linux-sigsegv"):
        gencore.start(collectors=["raw"], directory=tmp_path, backend=backend).result()

    assert len(told) == 2


def test_the_clone_goes_on_although_the_pause_is_over_before_it_waits_for_that(tmp_path):
    """Or else every dump lasts a second longer: without a signal, the clone waits that long."""

    def seconds():
        report = gencore.start(collectors=["raw"], directory=tmp_path, content="stacks").result()
        return next(stage.seconds for stage in report.stages if stage.name == "core")

    assert any(seconds() < 1 for _ in range(10))


def _wait_until_in_call(pid, number):
    """Return when the clone is in that system call."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/syscall").read_text().startswith(f"{number} "):
            return
    raise AssertionError(f"process {pid} never came to the call {number}")


def test_a_clone_that_is_killed_has_no_core(tmp_path, big, new_children):
    """As the kernel kills it when memory runs out: what was written so far is not published."""
    dump = gencore.start(collectors=["raw"], directory=tmp_path, backend="linux-sigsegv")
    for child in new_children():
        os.kill(child, signal.SIGKILL)

    report = dump.result(60)

    assert report.result == "failed"
    assert "SIGKILL" in report.failed[0].reason
    assert os.listdir(tmp_path) == []
    assert big


def test_aborting_a_snapshot_ends_the_kernels_writing(tmp_path, big):
    """It does not wait for the rest of the core."""
    with (
        Output(tmp_path, "dump") as output,
        LinuxSigsegv().snapshot(gencore.DumpRequest(), output, to_file=True) as snapshot,
    ):
        snapshot.abort()
        with pytest.raises(gencore.CoreFailed, match="SIGKILL"):
            snapshot._child.wait_for_core()
    assert big


def test_a_closed_snapshot_leaves_no_child(tmp_path, big):
    """Also where nobody asked for the core."""
    with Output(tmp_path, "dump") as output:
        with LinuxSigsegv().snapshot(gencore.DumpRequest(), output, to_file=True) as snapshot:
            pid = snapshot._child.pid
        assert not Path(f"/proc/{pid}").exists()
    assert big


def test_only_the_clones_own_core_is_taken(tmp_path):
    """Not another process's, not another user's, and nothing through a symbolic link."""
    core = gencore.create_core(directory=tmp_path)
    pattern = CorePattern(str(core))
    with CoreFile(core) as opened:
        pid = opened.thread_ids[0]

    assert _find_absolute(pattern, pid) == core
    with pytest.raises(gencore.CoreFailed, match="find-core"):
        _find_absolute(pattern, pid + 1)
    core.rename(tmp_path / "elsewhere")
    core.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(gencore.CoreFailed, match="find-core"):
        _find_absolute(pattern, pid)


def test_a_core_of_another_user_is_not_taken(tmp_path, monkeypatch):
    """Somebody else put it there."""
    core = gencore.create_core(directory=tmp_path)
    with CoreFile(core) as opened:
        pid = opened.thread_ids[0]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(gencore.CoreFailed, match="find-core"):
        _find_absolute(CorePattern(str(core)), pid)


@pytest.mark.parametrize(
    ("text", "uses_pid", "names"),
    [
        ("core", False, {"core"}),
        ("core", True, {"core.7"}),
        ("core.%p", True, {"core.7"}),
        ("core.%p", False, {"core.7"}),
    ],
)
def test_the_kernel_appends_the_pid_only_where_the_pattern_has_none(text, uses_pid, names):
    """kernel.core_uses_pid has no effect on a pattern with %p."""
    (expression,) = CorePattern(text, uses_pid).expression(7)

    assert {name for name in ("core", "core.7", "core.7.7") if expression.fullmatch(name)} == names


@pytest.mark.parametrize(("state", "count"), [(0, 1), (1, 0), (2, 1)])
def test_a_process_that_only_root_may_read_is_not_dumpable_either(monkeypatch, state, count):
    """PR_GET_DUMPABLE says 2 where fs.suid_dumpable does."""
    monkeypatch.setattr(_native, "dumpable", lambda: state)

    reasons = dumpable.undumpable_reasons()

    assert [f"({state};" in reason.text for reason in reasons] == [True] * count


def test_a_core_on_another_file_system_is_moved_from_there(tmpfs, core_pattern, python):
    """Nothing of it stays where kernel.core_pattern sent it."""
    there = tmpfs("size=800m,mode=0700")
    core_pattern(f"{there}/core.%p")

    core = Path(
        python("""if True:
            import gencore
            print('"%s"' % gencore.create_core(backend="linux-sigsegv"))
        """)
    )

    assert os.listdir(there) == []
    assert core.stat().st_mode & 0o7777 == 0o600
    with CoreFile(core) as opened:
        assert opened.why_incomplete() is None


class SlowChild:
    """Writes the next piece of a core whenever it is looked at."""

    def __init__(self, path, pieces):
        self.path, self.left = path, list(pieces)

    def ended(self, _timeout):
        """Write it."""
        if not self.left:
            return True
        with self.path.open("ab") as file:
            file.write(self.left.pop(0))
        return False

    def wait_for_core(self):
        """Have written all of it."""
        assert not self.left


def test_reading_waits_for_a_slower_writer(tmp_path):
    """The bytes are those of the whole core, however often the reader is ahead of the kernel."""
    pieces = [bytes([number]) * (3 << 18) for number in range(8)]  # chunks end within pieces

    class SlowFile(GrowingFile):
        size = sum(map(len, pieces))

        def _end(self):
            pass

    with Output(tmp_path, "dump") as output:
        (output.path / "core").touch()
        core = SlowFile(output, "core", SlowChild(output.path / "core", pieces))

        assert b"".join(map(bytes, core)) == b"".join(pieces)


def test_program_headers_are_waited_for_page_by_page(tmp_path):
    """A process with many mappings has more of them than fit into the page that comes first."""
    core = gencore.create_core(directory=tmp_path, backend="linux-elf", content="stacks")
    data = core.read_bytes()
    pages = [data[at : at + mmap.PAGESIZE] for at in range(0, len(data), mmap.PAGESIZE)]

    with Output(tmp_path, "dump") as output, CoreFile(core) as whole:
        assert whole.end_of_headers > 2 * mmap.PAGESIZE
        output_core = output.path / "core"
        output_core.touch()
        (output.path / "notes").touch()
        KernelCore(output, "core", SlowChild(output_core, pages))

        assert whole.end_of_notes <= output_core.stat().st_size < len(data)


@pytest.mark.parametrize(("missing", "tid"), [(0, 8), (1, 7)])
def test_a_core_that_the_kernel_cut_short_keeps_the_kernels_notes(tmp_path, missing, tid):
    """They are few, but there; those of the clone come behind the last byte of a whole core."""
    kernels, clones = (simulated_core(1, tid, bytes(mmap.PAGESIZE)) for tid in (7, 8))
    with CoreFile(io.BytesIO(clones)) as core:
        notes = clones[core.end_of_headers : core.end_of_notes]

    with Output(tmp_path, "dump") as output:
        path = output.path / "core"
        path.touch()
        (output.path / "notes").write_bytes(notes)
        KernelCore(output, "core", SlowChild(path, [kernels[: len(kernels) - missing]])).wait()
        with CoreFile(path) as core:
            assert core.thread_ids == (tid,)


def test_no_limit_is_unlimited_where_infinity_is_positive(monkeypatch):
    """As RLIM_INFINITY is since Python 3.15: in the verdict, and as null in the manifest."""
    infinity = (1 << 64) - 1
    monkeypatch.setattr(resource, "RLIM_INFINITY", infinity)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (infinity, infinity))
    verdict = LinuxSigsegv().probe(gencore.DumpRequest())

    shown = {verdict.facts[f"RLIMIT_{name} hard"] for name in ("CORE", "FSIZE")}
    limits = [pair for pair in process._limits(Target()).values() if pair]

    assert shown == {"unlimited"}
    assert not any("RLIMIT" in reason.text for reason in verdict.reasons)
    assert limits
    assert all(pair == {"soft": None, "hard": None} for pair in limits)


@pytest.mark.parametrize("advice", [mmap.MADV_NORMAL, mmap.MADV_DONTDUMP])
def test_the_clone_says_whether_memory_of_files_is_marked(tmp_path, advice):
    """Nobody else has to look for it then: one that says nothing before it ends may have some."""
    (tmp_path / "mapped").write_bytes(bytes(mmap.PAGESIZE))
    with (tmp_path / "mapped").open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped.madvise(advice)
    with (tmp_path / "core").open("w+b") as file:
        for ends in (False, True):
            taken = []
            order = ("full", (), False, False, "caller", 250)
            _native.snapshot_to_elf(file.fileno(), *order, taken)
            child = Child(taken)
            child.kill() if ends else child.go_on()
            may_have = child.may_have_marked_files()
            child.close()

            assert may_have is (ends or advice == mmap.MADV_DONTDUMP)
    mapped.close()


def test_no_marks_are_looked_for_where_there_are_none(tmp_path):
    """That would be one more walk of all pages."""
    (tmp_path / "mapped").write_bytes(bytes(mmap.PAGESIZE))
    with (tmp_path / "mapped").open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped.madvise(mmap.MADV_DONTDUMP)

    found = {file.path: file.dontdump for file in mapped_files(THIS_PROCESS, None)}

    assert found[str(tmp_path / "mapped")] is False
    mapped.close()


@pytest.mark.parametrize("clone", [0, os.getppid()])
def test_marks_of_memory_are_those_of_this_process_where_its_clone_has_ended(tmp_path, clone):
    """Also if another process has the clone's number now."""
    for name in ("marked", "plain"):
        (tmp_path / name).write_bytes(bytes(mmap.PAGESIZE))
    with (tmp_path / "marked").open("r+b") as one, (tmp_path / "plain").open("r+b") as two:
        marked, plain = (mmap.mmap(file.fileno(), 0) for file in (one, two))
    marked.madvise(mmap.MADV_DONTDUMP)

    files = {file.path: file for file in mapped_files(THIS_PROCESS, clone)}
    own = [files[str(tmp_path / name)] for name in ("marked", "plain")]

    assert [file.dontdump for file in own] == [True, False]
    assert all(len(file.data) == 1 for file in own)
    assert files[os.path.realpath(sys.executable)].data == ()
    marked.close()
    plain.close()


MAPS_MEANWHILE = """
import ctypes, mmap, os, sys
from gencore_backends.linux import _native
from gencore_backends.linux.child import Child

area = mmap.mmap(-1, mmap.PAGESIZE)
area.madvise(mmap.MADV_DONTFORK)
for _ in range(3):
    assert ctypes.CDLL(sys.argv[1]).begin() == 0
for _ in range(150):
    reader, writer = os.pipe()
    taken = []
    child = Child(taken)
    _native.snapshot_to_elf(writer, "private", (), False, True, sys.argv[2], 250, taken)
    os.close(writer)
    child.go_on()
    child.promised_sizes()
    child.close()
    os.close(reader)
    assert "MADV_DONTFORK memory" in child.gaps
"""


@pytest.mark.parametrize("threads", ["caller", "auto"])
def test_memory_is_missed_although_a_thread_maps_as_much_meanwhile(native, tmp_path, threads):
    """The sizes of the process and of its clone are the same then."""
    library = tmp_path / "maps_meanwhile.so"
    source = native.programs / "maps_meanwhile.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-lpthread"], check=True)

    command = [sys.executable, "-c", MAPS_MEANWHILE, library, threads]
    subprocess.run(command, check=True, timeout=100)
