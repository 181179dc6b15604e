"""Bad input and bad surroundings: a clear error with a remedy, nothing left, nobody disturbed."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import gencore


def left_in(directory):
    return sorted(os.listdir(directory))


def test_missing_directory_is_named(tmp_path):
    """The error names the directory and says what to do."""
    with pytest.raises(gencore.OutputError, match=r"does not exist.*Remedy: create") as caught:
        gencore.create_core(directory=tmp_path / "none")

    assert caught.value.path == str(tmp_path / "none")


def test_symbolic_link_is_refused_with_its_target(tmp_path):
    """A directory that is a symbolic link is refused; the remedy names the real one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(gencore.OutputError, match=f"symbolic link.*{tmp_path}/real"):
        gencore.create_core(directory=tmp_path / "link")

    assert left_in(tmp_path / "real") == []


def test_file_in_place_of_the_directory_is_refused(tmp_path):
    """A file is not a directory."""
    (tmp_path / "file").touch()

    with pytest.raises(gencore.OutputError, match="not a directory"):
        gencore.create_core(directory=tmp_path / "file")


OWN = f"gencore-{os.geteuid()}"


@pytest.fixture
def emptydir(tmp_path):
    """Return a directory as Kubernetes makes an emptyDir: for everybody, without a sticky bit."""
    directory = tmp_path / "emptydir"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def test_directory_open_to_everybody_gets_one_of_our_own(emptydir, inside):
    """The bundle is in it, for its owner alone, and the report and `gencore list` say where."""
    report = gencore.Pipeline(directory=emptydir, content="stacks").run()
    bundle = report.path_of("archive")
    status = bundle.parent.stat()

    assert report.result == "complete"
    assert bundle.parent == emptydir / OWN
    assert (status.st_mode & 0o7777, status.st_uid) == (0o700, os.geteuid())
    assert left_in(emptydir) == [OWN]
    assert left_in(bundle.parent) == [bundle.name]
    assert f"{OWN}/{bundle.name}" in inside("list", emptydir)[1]


def test_directory_open_to_everybody_with_a_sticky_bit_is_taken_as_it_is(emptydir):
    """Nobody else can rename or remove a file there."""
    emptydir.chmod(0o1777)

    assert gencore.create_core(directory=emptydir, content="stacks").parent == emptydir


def test_checking_leaves_nothing_in_a_directory_open_to_everybody(emptydir):
    """Nor does a dump that is refused."""
    gencore.Pipeline(directory=emptydir).check()

    assert left_in(emptydir) == []


@pytest.mark.parametrize("kind", ["of another user", "link", "file", "open"])
def test_what_somebody_else_made_in_the_place_of_our_own_is_refused(emptydir, tmp_path, kind):
    """With a remedy that works, and nothing is written there."""
    place, other = emptydir / OWN, tmp_path / "other"
    other.mkdir(0o700)
    if kind == "link":
        place.symlink_to(other)
    elif kind == "file":
        place.touch()
    else:
        place.mkdir(0o700)
    if kind == "open":
        place.chmod(0o755)
    elif kind == "of another user":
        if os.geteuid() != 0:
            pytest.skip("needs root, to give a directory to somebody else")
        os.chown(place, 12345, 12345)

    with pytest.raises(gencore.Refused, match=OWN) as caught:
        gencore.create_core(directory=emptydir, content="stacks")
    assert left_in(other) == []
    assert place.is_file() or left_in(place) == []

    command, _, named = caught.value.remedy.partition(", and use ")
    subprocess.run(command, shell=True, check=True)
    where = command.split()[-1] if named else emptydir
    assert gencore.create_core(directory=where, content="stacks").exists()


def test_a_rival_who_renames_our_own_directory_gets_and_leaves_nothing(emptydir):
    """The dump goes where it began, and the report says where that is now."""

    class Rival(gencore.Collector):
        name = "rival"
        api_version = (1, 0)

        def begin(self, dump):  # noqa: ARG002
            (emptydir / OWN).rename(emptydir / "moved")
            (emptydir / OWN).mkdir()

        def finish(self, dump):  # noqa: ARG002
            return []

    report = gencore.Pipeline(
        collectors=["raw", Rival], directory=emptydir, content="stacks"
    ).run()
    core = report.path_of("raw")

    assert report.result == "complete"
    assert core.parent == emptydir / "moved"
    assert left_in(emptydir / "moved") == [core.name]
    assert left_in(emptydir / OWN) == []


def test_processes_of_one_user_share_their_own_directory(emptydir, python):
    """Also where one removes it, because its dump was given up, while another enters it."""
    code = """if True:
        import json, os, sys
        from gencore import Artifact
        from gencore.output import Output
        children = []
        for number in range(4):
            children.append(os.fork())
            if not children[-1]:
                for turn in range(300):
                    with Output(sys.argv[1], f"{number}.{turn}") as output:
                        output.create("core").close()
                        if turn == 299:
                            output.publish(Artifact(name="core", size=0))
                os._exit(0)
        print(json.dumps([os.waitpid(child, 0)[1] for child in children]))
    """
    assert python(code, emptydir) == [0] * 4
    assert left_in(emptydir) == [OWN]
    assert left_in(emptydir / OWN) == [f"{number}.299.core" for number in range(4)]


def test_each_user_has_a_directory_of_its_own(emptydir, python, let_others_in):
    """Nobody reads or removes what is another's."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    let_others_in(emptydir.parent)
    code = """if True:
        import json, os, sys
        from gencore import Artifact
        from gencore.output import Output
        os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
        with Output(sys.argv[1], "dump") as output:
            output.create("core").close()
            path = output.publish(Artifact(name="core", size=0))
        print(json.dumps(str(path)))
    """
    paths = [python(code, emptydir, uid, cwd="/") for uid in (12345, 12346)]

    assert paths == [f"{emptydir}/gencore-{uid}/dump.core" for uid in (12345, 12346)]
    assert [Path(path).stat().st_uid for path in paths] == [12345, 12346]


def test_read_only_file_system_is_refused(tmpfs):
    """A read-only file system is named as such."""
    directory = tmpfs("ro")

    with pytest.raises(gencore.OutputError, match="read-only"):
        gencore.create_core(directory=directory)


def test_full_file_system_is_refused_beforehand(tmpfs):
    """A file system that is too small is refused before the pause, with both numbers."""
    directory = tmpfs("size=4m")

    with pytest.raises(gencore.OutputError, match=r"may need \d+ MiB, but only \d MiB are free"):
        gencore.create_core(directory=directory)

    assert left_in(directory) == []


def test_file_system_that_fills_up_gives_a_core_marked_truncated(tmpfs, backend):
    """Where space runs out on the way, the core is saved as truncated and never as whole."""
    directory = tmpfs("size=16m")

    report = gencore.Pipeline(
        collectors=["raw"], directory=directory, backend=backend, force=True
    ).run()

    assert report.result == "partial"
    assert "truncated" in report.failed[0].reason
    assert left_in(directory) == [f"{report.name}.truncated.core"]
    with pytest.raises(gencore.DumpIncomplete):
        report.path_of("raw")


def test_bundle_that_fits_is_made_though_its_core_would_not_fit(tmpfs, python):
    """With a warning, because memory may compress badly."""
    directory = tmpfs("size=60m")
    code = """if True:
        import gencore, json, sys
        ballast = [bytes(4096) + bytes([i % 251]) * 4096 for i in range(8000)]
        report = gencore.start(directory=sys.argv[1]).result()
        print(json.dumps([report.result, report.warnings]))
    """
    result, warnings = python(code, directory)

    assert result == "complete"
    assert re.search(r"\d+ MiB were free, and the dump may need up to \d+ MiB", warnings[0])


def test_bundle_for_which_the_disk_was_too_small_leaves_the_rest(tmpfs, monkeypatch):
    """With the reason; what was to be packed has room again, and is published."""
    directory = tmpfs("size=4m")
    monkeypatch.setenv("GENCORE_DIRECTORY", str(directory))

    report = gencore.Pipeline(force=True).run()

    assert (report.result, report.failed[0].part) == ("partial", "archive")
    assert "no space left on the device (ENOSPC)" in report.failed[0].reason
    assert left_in(directory) == [f"{report.name}.manifest.json"]
    with pytest.raises(gencore.DumpIncomplete, match="ENOSPC"):
        gencore.collect_core(force=True)


def test_path_with_spaces_and_other_alphabets_works(tmp_path):
    """The directory's name may hold anything."""
    directory = tmp_path / "mit Leerzeichen и кириллица"
    directory.mkdir()

    core = gencore.create_core(directory=directory)

    assert core.parent == directory


@pytest.mark.parametrize(
    ("limit", "value"), [("RLIMIT_CORE", 0), ("RLIMIT_CORE", 1 << 20), ("RLIMIT_FSIZE", 1 << 20)]
)
def test_hard_limit_is_found_beforehand(python, tmp_path, limit, value):
    """A hard limit below the core's size is refused with the way to raise it."""
    code = """if True:
        import gencore, json, os, resource, sys
        limit = getattr(resource, sys.argv[2])
        resource.setrlimit(limit, (int(sys.argv[3]),) * 2)
        try:
            gencore.create_core(directory=sys.argv[1], backend="linux-sigsegv")
        except gencore.Unsupported as error:
            print(json.dumps([str(error), error.exit_code, os.listdir(sys.argv[1])]))
    """
    message, exit_code, left = python(code, tmp_path, limit, value)

    assert limit in message
    assert "ulimit -H" in message
    assert (exit_code, left) == (5, [])


@pytest.mark.parametrize("pattern", ["|/usr/bin/handler %p", "@/run/handler.socket"])
def test_core_pattern_with_a_handler_is_refused_by_its_name(core_pattern, tmp_path, pattern):
    """A pipe or socket is named, with the remedy, and nothing is done."""
    core_pattern(pattern)

    with pytest.raises(
        gencore.Unsupported,
        match=rf"sends cores to {pattern.strip('|')[:16]}.*kernel.core_pattern=core",
    ):
        gencore.create_core(directory=tmp_path, backend="linux-sigsegv")

    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("\n", "core_pattern is empty"),
        ("cores/core.%p", "names a subdirectory"),
        ("/nonexistent/core.%p", "not writable by this user"),
    ],
)
def test_core_pattern_that_gives_no_core_is_refused(core_pattern, tmp_path, pattern, words):
    """Beforehand, with the remedy, and nothing is done."""
    core_pattern(pattern)

    with pytest.raises(gencore.Unsupported, match=rf"{words}.*sysctl kernel.core_pattern=core"):
        gencore.create_core(directory=tmp_path, backend="linux-sigsegv")

    assert left_in(tmp_path) == []


def test_process_that_is_not_dumpable_is_refused(python, tmp_path):
    """The kernel would write no core of it."""
    code = """if True:
        import ctypes, gencore, json, sys
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        try:
            gencore.create_core(directory=sys.argv[1])
        except gencore.Unsupported as error:
            print(json.dumps(str(error)))
    """
    assert "not dumpable (0" in python(code, tmp_path)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("limit", ["RLIMIT_CORE", "RLIMIT_FSIZE"])
def test_soft_limits_neither_matter_nor_change(python, tmp_path, limit):
    """The clone raises its own to the hard ones; RLIMIT_CORE is 0 almost everywhere.

    But linux-sigsegv, whose core this process itself makes longer, depends on RLIMIT_FSIZE.
    """
    code = """if True:
        import gencore, json, resource, sys
        limit = getattr(resource, sys.argv[2])
        limits = (0 if sys.argv[2] == "RLIMIT_CORE" else 1 << 20, resource.getrlimit(limit)[1])
        resource.setrlimit(limit, limits)
        backend = "linux-sigsegv" if sys.argv[2] == "RLIMIT_CORE" else "linux-elf"
        core = gencore.create_core(directory=sys.argv[1], backend=backend)
        print(json.dumps([core.stat().st_size > 1 << 20, resource.getrlimit(limit) == limits]))
    """
    assert python(code, tmp_path, limit) == [True, True]


SOFT_FILE_LIMIT = """if True:
    import gencore, json, resource, sys
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    try:
        pipeline = gencore.Pipeline(directory=".", %s)
        print(json.dumps([pipeline.start_here("a recorder raises it").result().failed[0].reason]))
    except gencore.GencoreError as error:
        print(json.dumps([str(error)]))
"""


@pytest.mark.parametrize("options", ["backend='linux-sigsegv', collectors=['raw']", ""])
def test_a_soft_limit_that_stops_the_process_itself_is_told_with_a_remedy(python, options):
    """It adds the notes to the kernel's core, and it writes bundles."""
    (told,) = python(SOFT_FILE_LIMIT % options)

    assert "ulimit -Sf unlimited" in told


def test_a_working_directory_that_was_removed_is_refused(python, tmp_path):
    """Unless another directory is named."""
    code = """if True:
        import gencore, json, os, sys
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        gencore.create_core(directory=sys.argv[1])
        try:
            gencore.create_core()
        except gencore.OutputError as error:
            print(json.dumps(str(error)))
    """
    assert "pass directory=" in python(code, tmp_path)


@pytest.mark.parametrize(
    ("pattern", "uses_pid"),
    [
        ("core", "1"),
        ("c.%%.%p.%P.%i.%I.%u.%g.%d.%s.%t.%h.%e.%f.%c.%C.%F", "0"),
        ("%E.%z", "0"),
        ("{directory}/core.%e.%p.%t", "0"),
        ("{directory}/%%.%P.%i.%I.%u.%g.%d.%s.%h.%f.%E.%c.%C.%F", "0"),
        ("{directory}/fixed", "1"),
    ],
)
def test_core_is_found_wherever_the_pattern_sends_it(
    core_pattern, tmp_path, tmp_path_factory, pattern, uses_pid
):
    """Names, templates with every specifier, and absolute paths; nothing stays behind there."""
    directory = tmp_path_factory.mktemp("d", numbered=True)
    core_pattern(pattern.format(directory=directory), uses_pid)

    core = gencore.create_core(directory=tmp_path, backend="linux-sigsegv")

    assert left_in(tmp_path) == [core.name]
    assert left_in(directory) == []


@pytest.mark.parametrize(
    "prepare",
    [
        "import faulthandler; faulthandler.enable()",
        "signal.signal(signal.SIGSEGV, lambda *_: None)",
        "signal.signal(signal.SIGSEGV, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    ],
)
def test_the_applications_signal_settings_neither_matter_nor_change(python, tmp_path, prepare):
    """Whatever the application did with its signals, the dump works and they stay as they were."""
    code = f"""if True:
        import gencore, json, os, signal, sys, threading
        {prepare}
        def state():
            watched = (signal.SIGSEGV, signal.SIGCHLD)
            with open('/proc/self/status') as status:
                masks = [line for line in status if line[:6] in ('SigBlk', 'SigIgn', 'SigCgt')]
            return [str(signal.getsignal(s)) for s in watched] + masks
        # The first thread makes the C library catch a signal of its own.
        (thread := threading.Thread()).start(); thread.join()
        before = state()
        core = gencore.create_core(directory=sys.argv[1])
        print(json.dumps([core.stat().st_size, before == state()]))
    """
    size, unchanged = python(code, tmp_path)

    assert size > 0
    assert unchanged


def test_the_clone_is_the_first_to_be_killed_when_memory_runs_out(tmp_path, new_children):
    """It has the highest oom_score_adj, and the service keeps its own."""
    ballast = bytearray(os.urandom(1 << 20) * 200)
    own = Path("/proc/self/oom_score_adj").read_text()
    seen = set()
    dump = gencore.start(collectors=["raw"], directory=tmp_path, backend="linux-sigsegv")
    while not dump.done():
        for child in new_children():
            with contextlib.suppress(OSError):
                seen.add(Path(f"/proc/{child}/oom_score_adj").read_text().strip())

    assert "1000" in seen
    assert Path("/proc/self/oom_score_adj").read_text() == own
    assert len(ballast) == 200 << 20


def test_the_clone_blocks_every_signal_but_its_own(tmp_path, new_children):
    """Ctrl-C goes to the whole process group, and must not cost the dump."""
    ballast = bytearray(os.urandom(1 << 20) * 200)
    seen = set()
    dump = gencore.start(collectors=["raw"], directory=tmp_path, backend="linux-sigsegv")
    while not dump.done():
        for child in new_children():
            with contextlib.suppress(OSError):
                seen |= set(Path(f"/proc/{child}/status").read_text().splitlines())
    never = {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV}
    blocked = sum(1 << (number - 1) for number in range(1, 65) if number not in never)

    assert f"SigBlk:\t{blocked:016x}" in seen
    assert len(ballast) == 200 << 20


def test_another_thread_in_waitpid_does_not_get_our_child(python, tmp_path):
    """waitpid(-1) in the application sees its own children only."""
    code = """if True:
        import gencore, json, os, sys, threading
        r, w = os.pipe()
        own = os.fork()
        if own == 0:
            os.close(w)
            os.read(r, 1)
            os._exit(7)
        seen = []
        waiter = threading.Thread(target=lambda: seen.append(os.waitpid(-1, 0)))
        waiter.start()
        core = gencore.create_core(directory=sys.argv[1])
        os.write(w, b"x")
        waiter.join()
        print(json.dumps([seen[0][0] == own, os.waitstatus_to_exitcode(seen[0][1])]))
    """
    assert python(code, tmp_path) == [True, 7]


def test_changing_the_directory_during_the_dump_does_no_harm(python, tmp_path):
    """A relative directory is resolved at the start."""
    code = """if True:
        import gencore, json, os
        dump = gencore.start(collectors=["raw"], directory=".")
        os.chdir("/")
        print(json.dumps([str(dump.result().path_of("raw").parent), os.getcwd()]))
    """
    assert python(code, cwd=tmp_path) == [str(tmp_path), "/"]


def test_a_dump_at_the_limit_of_processes_is_refused_with_the_remedy(
    python, tmp_path, let_others_in
):
    """Before the pause, which would be in vain; and nothing is left."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become a user whom the limit binds")
    code = """if True:
        import ctypes, gencore, json, os, resource, sys
        directory = sys.argv[1]
        gencore.create_core(directory=directory).unlink()
        os.chown(directory, 65534, 65534)
        pipeline = gencore.Pipeline(collectors=["raw"], directory=".")
        os.chdir(directory)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        fds = os.listdir("/proc/self/fd")
        try:
            pipeline.start()
        except gencore.Refused as error:
            left = os.listdir(".") + [fd for fd in os.listdir("/proc/self/fd") if fd not in fds]
            print(json.dumps([error.message, error.remedy, left]))
    """
    directory = tmp_path / "d"
    directory.mkdir()
    let_others_in(tmp_path)
    message, remedy, left = python(code, directory)

    assert message.startswith("cannot start a thread for the dump")
    assert "ulimit -u" in remedy
    assert left == []


@pytest.mark.parametrize("count", [10, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_many_dumps_at_once_from_as_many_threads(tmp_path, count):
    """Each gets its own core under its own name."""
    cores = []

    def dump():
        cores.append(gencore.create_core(directory=tmp_path, content="stacks"))

    threads = [threading.Thread(target=dump) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert left_in(tmp_path) == sorted(core.name for core in cores)
    assert len(set(cores)) == count


LEFT_BEHIND = """
import ctypes, gc, gencore, json, os, pathlib, sys, time
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Allocated(ctypes.Structure):  # struct mallinfo2, see mallinfo(3)
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
allocator = ctypes.CDLL(None)
allocator.mallinfo2.restype = Allocated
pipeline = gencore.Pipeline(collectors=["raw", "manifest"], directory=".", content="stacks")
def state():
    tasks = pathlib.Path("/proc/self/task")
    while any(file.read_text().startswith("gencore-") for file in tasks.glob("*/comm")):
        time.sleep(0.01)
    gc.collect()
    children = [file.read_text().split() for file in tasks.glob("*/children")]
    return [len(os.listdir("/proc/self/fd")), len(children), sum(children, []), os.listdir()]
def allocated():
    figures = allocator.mallinfo2()
    return [sys.getallocatedblocks(), figures.uordblks + figures.hblkhd]
def dump(times):
    for _ in range(times):
        for artifact in pipeline.run().artifacts:
            artifact.path.unlink()
    return state(), allocated()
pipeline.prepare()
dump(3)
print(json.dumps([*dump(2), *dump(int(sys.argv[1]))]))
"""


@pytest.mark.parametrize("dumps", [4, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_dumps_leave_no_trace_in_the_process(python, tmp_path, dumps):
    """No descriptor, thread, child or temporary file is left, and no memory in use.

    What the allocator keeps for the next time varies by 16 MiB, and is not counted.
    """
    before, allocated, after, then = python(LEFT_BEHIND, dumps, cwd=tmp_path)

    assert before == after
    assert then[0] - allocated[0] < 50 * dumps  # objects
    assert then[1] - allocated[1] < dumps * (13 << 10)  # bytes


def test_failed_dump_leaves_no_child(tmp_path, core_pattern):
    """A dump whose core the kernel could not write reaps its child and cleans up."""
    pipeline = gencore.Pipeline(collectors=["raw"], directory=tmp_path, backend="linux-sigsegv")
    blocked = tmp_path / "blocked"
    core_pattern("core")
    choice = pipeline._choose()
    pipeline._choose = lambda: choice  # a probe would refuse: the pattern changes behind its back
    core_pattern(str(blocked / "core"))
    before = zombies()  # of other tests in this process

    report = pipeline.run()

    assert report.result == "failed"
    assert report.failed[0].part == "core"
    assert left_in(tmp_path) == []
    assert zombies() - before == set()


def zombies():
    """Return the children of this process that have ended and were not waited for."""
    command = ["ps", "--no-headers", "-o", "pid,stat", "--ppid", str(os.getpid())]
    rows = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {row.split()[0] for row in rows.splitlines() if "Z" in row.split()[1]}
