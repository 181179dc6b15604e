"""What is in a core and what is left out of it, as it was asked for."""

import ctypes
import json
import mmap
import multiprocessing
import os
import re
import subprocess
import threading
from array import array
from multiprocessing import shared_memory
from pathlib import Path
from typing import get_args

import pytest

import gencore
from gencore.bundle.reader import BundleReader
from gencore.corefile import CoreFile
from gencore.request import Content

PROGRAMS = Path(__file__).parent / "programs"
MIB = 1 << 20


def marker():
    """Return bytes that are nowhere else in memory."""
    return bytearray(os.urandom(32))


def holds(core, needle):
    """Whether a core holds *needle*; the search makes no copy of it that a dump could see."""
    with core.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return data.find(needle) >= 0


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_stacks_are_enough_for_every_python_stack(installed, tool, tmp_path, build_extension):
    """A heap of 64 MiB is left out, and pystack prints every thread all the same."""
    extension = build_extension(tmp_path)
    program = [PROGRAMS / "every_thread.py", "linux-elf", tmp_path, extension, "stacks", "64"]
    done = subprocess.run([installed[1], *program], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    core = Path(told["core"])

    command = [tool("pystack"), "--no-color", "core", core, os.path.realpath(installed[1])]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert core.stat().st_blocks * 512 < 40 * MIB
    tids = {int(tid) for tid in re.findall(r"^Traceback for thread (\d+) ", shown, re.MULTILINE)}
    assert tids == {*told["threads"].values(), told["main"]}
    for function in told["threads"]:
        assert f"in {function}" in shown


def test_excluded_memory_is_in_no_core(tmp_path, backend):
    """It is zeros there, stays what it is here, and is dumped again once it is released."""
    secret = marker()
    kept = bytes(reversed(secret))

    with gencore.exclude(secret):
        core = gencore.create_core(directory=tmp_path, backend=backend)
        assert bytes(reversed(secret)) == kept
    assert not holds(core, secret)

    core = gencore.create_core(directory=tmp_path, backend=backend)
    assert holds(core, secret)


FORKED = """if True:
    import gencore, json, os, sys
    secret = bytearray(os.urandom(32))
    exclusion = gencore.exclude(secret)
    child = os.fork()
    if not child:
        gencore.create_core(directory=sys.argv[1], name="child", content="private")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(json.dumps([status, secret.hex()]))
"""


def test_a_forked_process_has_the_exclusions_of_its_parent(tmp_path, python):
    """Whatever it dumps."""
    status, secret = python(FORKED, tmp_path)

    assert status == 0
    assert not holds(tmp_path / "child.core", bytes.fromhex(secret))


@pytest.fixture
def shared():
    """Return the buffer of shared memory that no other process uses."""
    memory = shared_memory.SharedMemory(create=True, size=4096)
    memory.unlink()
    yield memory.buf
    memory.close()


BUFFERS = {
    "bytearray": lambda *_: bytearray(b"data"),
    "part": lambda *_: memoryview(bytearray(b"some data"))[2:4],
    "array": lambda *_: array("d", [1, 2]),
    "anonymous": lambda *_: mmap.mmap(-1, 4096),
    "file": lambda mapped, _: mapped("data"),
    "copy": lambda mapped, _: mapped("data", access=mmap.ACCESS_COPY),
    "ctypes": lambda *_: (ctypes.c_int * 3)(1, 2, 3),
    "number": lambda *_: ctypes.c_int(7),
    "raw-array": lambda *_: multiprocessing.RawArray("d", [1, 2]),
    "shared": lambda _, shared: shared,
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_what_is_excluded_is_where_the_buffer_is(mapped, shared, kind):
    """All of it and nothing else, whatever offers it."""
    buffer = BUFFERS[kind](mapped, shared)

    with gencore.exclude(buffer) as exclusion:
        there = ctypes.string_at(exclusion.start, exclusion.end - exclusion.start)

        assert there == bytes(buffer)


@pytest.mark.parametrize("kind", ["Array", "Value"])
def test_what_multiprocessing_wraps_is_excluded(kind):
    """Not the wrapper, which has no memory of its own."""
    wrapped = getattr(multiprocessing, kind)("i", 3)

    with gencore.exclude(wrapped) as exclusion:
        assert exclusion.start == ctypes.addressof(wrapped.get_obj())
        assert exclusion.end - exclusion.start == ctypes.sizeof(wrapped.get_obj())


def test_excluded_memory_is_held_until_it_is_released(mapped):
    """Otherwise its addresses would be somebody else's."""
    memory, growing = mapped("data"), bytearray(9)
    with gencore.exclude(memory), gencore.exclude(growing):
        with pytest.raises(BufferError):
            memory.close()
        with pytest.raises(BufferError):
            growing.append(1)

    memory.close()
    growing.append(1)


@pytest.mark.parametrize(
    "wrong",
    [
        b"bytes",
        "text",
        7,
        memoryview(bytearray(9))[::2],
        memoryview(bytearray(9)).toreadonly(),
        ctypes.pointer(ctypes.c_int(7)),
        (ctypes.c_char_p * 2)(b"a", b"b"),
        ctypes.py_object([]),
    ],
)
def test_only_what_can_be_wiped_can_be_excluded(wrong):
    """Writable memory in one piece, and not addresses of it; the remedy names a bytearray."""
    with pytest.raises(gencore.UsageError, match="bytearray"):
        gencore.exclude(wrong)


def test_a_file_that_is_mapped_to_be_read_cannot_be_excluded(mapped):
    """The remedy says how to map it."""
    memory = mapped("data", access=mmap.ACCESS_READ)

    with pytest.raises(gencore.UsageError, match=r"not writable.*map a file writable"):
        gencore.exclude(memory)
    memory.close()


@pytest.fixture
def mapped(tmp_path):
    """Return a function that maps a new data file of that name."""

    def make(name, **how):
        path = tmp_path / name
        if not path.exists():
            path.write_bytes(os.urandom(2 * mmap.PAGESIZE))
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 0, **how)

    return make


@pytest.mark.parametrize(
    "backend", ["linux-elf", pytest.param("linux-sigsegv", marks=pytest.mark.exhaustive)]
)
def test_files_behind_memory_that_is_kept_out_are_not_packed(tmp_path, mapped, backend):
    """Under whatever name, shared or private; the reason is in the manifest."""
    kept = {
        "excluded.db": "gencore.exclude",
        "copied.db": "exclude",
        "advised.db": "MADV_DONTDUMP",
    }
    excluded, copied = mapped("excluded.db"), mapped("copied.db", access=mmap.ACCESS_COPY)
    advised, packed = mapped("advised.db"), mapped("packed.db")
    (tmp_path / "other-name.db").hardlink_to(tmp_path / "excluded.db")
    again = mapped("other-name.db")
    advised.madvise(mmap.MADV_DONTDUMP)

    with gencore.exclude(excluded), gencore.exclude(memoryview(copied)[-1:]):
        rows = data_files(gencore.collect_core(directory=tmp_path, backend=backend))
        everything = (
            rows
            if backend != "linux-elf"
            else data_files(
                gencore.collect_core(directory=tmp_path, backend=backend, with_dontdump=True)
            )
        )

    for name, reason in {**kept, "other-name.db": "exclude"}.items():
        assert rows[name]["archive_path"] is None
        assert reason in rows[name]["reason"]
    assert rows["packed.db"]["archive_path"] is not None
    assert (everything["advised.db"]["archive_path"] is None) == (backend != "linux-elf")
    assert everything["excluded.db"]["archive_path"] is None
    for memory in (again, packed):
        memory.close()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content, marks=() if content == "stacks" else pytest.mark.exhaustive)
        for content in sorted({*get_args(Content)} - {"full"})
    ],
)
def test_no_data_file_is_packed_where_memory_is_left_out(tmp_path, mapped, content):
    """Its libraries are."""
    memory = mapped("mapped.db")

    bundle = gencore.collect_core(directory=tmp_path, content=content)

    assert data_files(bundle)["mapped.db"]["archive_path"] is None
    with BundleReader(bundle) as opened:
        assert not [member.path for member in opened.members if member.path.endswith(".db")]
        assert [member.path for member in opened.members if "libc.so" in member.path]
    memory.close()


def data_files(bundle):
    """Return the manifest's rows of data files by name, and compare them with what is packed."""
    with BundleReader(bundle) as opened:
        libraries = opened.manifest()["libraries"]
        members = {member.path for member in opened.members}
    rows = [row for row in libraries if row["path"].endswith(".db")]
    assert all((row["path"][1:] in members) == (row["archive_path"] is not None) for row in rows)
    return {Path(row["path"]).name: row for row in rows}


def test_dontdump_is_honoured_unless_asked_otherwise(tmp_path):
    """As madvise(2) says, and as the kernel does."""
    secret = marker()
    memory = mmap.mmap(-1, MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTDUMP)
    memory[: len(secret)] = bytes(reversed(secret))
    secret.reverse()  # now this is the only other copy, and it is excluded

    with gencore.exclude(secret):
        without = gencore.create_core(directory=tmp_path)
        with_it = gencore.create_core(directory=tmp_path, with_dontdump=True)

    assert not holds(without, secret)
    assert holds(with_it, secret)
    with pytest.raises(gencore.Unsupported, match="MADV_DONTDUMP"):
        gencore.create_core(directory=tmp_path, with_dontdump=True, backend="linux-sigsegv")


def test_untouched_memory_costs_nothing(tmp_path):
    """Neither bytes of the stream nor blocks of the file."""
    before = gencore.create_core(directory=tmp_path).stat().st_size
    reserved = mmap.mmap(-1, 512 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    after = gencore.create_core(directory=tmp_path).stat().st_size

    assert after < before + 64 * MIB
    reserved.close()


def test_pages_of_zeros_are_holes(tmp_path):
    """Touched, but nothing in them."""
    zeros = bytearray(64 * MIB)
    zeros[:: mmap.PAGESIZE] = bytes(len(zeros) // mmap.PAGESIZE)

    core = gencore.create_core(directory=tmp_path)

    assert core.stat().st_size > len(zeros)
    assert core.stat().st_blocks * 512 < core.stat().st_size - 60 * MIB


@pytest.mark.parametrize("collectors", [["raw"], ["manifest", "archive"]])
def test_unreadable_memory_is_a_warning(tmp_path, collectors):
    """A mapped file was truncated: those pages are zeros, and the report says where."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * mmap.PAGESIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        file.truncate(mmap.PAGESIZE)
        report = gencore.Pipeline(collectors=collectors, directory=tmp_path).run()
        memory.flush(0, mmap.PAGESIZE)

    assert any("unreadable" in warning for warning in report.warnings)
    assert not [part for part in report.failed if part.part == "core"]


@pytest.mark.parametrize("count", [400, pytest.param(2000, marks=pytest.mark.exhaustive)])
def test_many_threads_are_all_exact(tmp_path, count):
    """Hundreds or thousands of them, each with its registers in the core.

    On a busy machine a few may not get a processor in time: the second or third dump has them.
    """
    event = threading.Event()
    threads = [threading.Thread(target=event.wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            pipeline = gencore.Pipeline(collectors=["raw"], directory=tmp_path, content="private")
            report = pipeline.run()
            inexact = [record for record in report.threads if record.registers != "exact"]
            assert {record.reason for record in inexact} <= {"it did not stop in time"}
            if not inexact:
                break
    finally:
        event.set()
        for thread in threads:
            thread.join()

    assert not inexact
    assert len(report.threads) > count
    with CoreFile(report.path_of("raw")) as core:
        assert len(core.thread_ids) == len(report.threads)


@pytest.fixture
def many_mappings():
    """Let processes have more than 65,530 mappings until the test has ended; machine-wide."""
    sysctl = Path("/proc/sys/vm/max_map_count")
    before = sysctl.read_text()
    try:
        sysctl.write_text("300000")
    except OSError as error:
        pytest.skip(f"may not write vm.max_map_count: {error}")
    yield
    sysctl.write_text(before)


MANY = """
import ctypes, gencore, json, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
page, count = mmap.PAGESIZE, 35_000  # of them in two mappings
memory = mmap.mmap(-1, 2 * count * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for index in range(count):
    memory[2 * index * page] = 1
    libc.mprotect(ctypes.c_void_p(start + 2 * index * page), page, mmap.PROT_READ)
core = gencore.create_core(directory=sys.argv[1], backend=sys.argv[2])
print(json.dumps(str(core)))
"""


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("many_mappings")
@pytest.mark.parametrize(
    "backend", ["linux-elf", pytest.param("linux-sigsegv", marks=pytest.mark.exhaustive)]
)
def test_more_mappings_than_a_header_can_count(python, tool, tmp_path, backend):
    """Section header 0 has their number (PN_XNUM), and readers find it."""
    core = Path(python(MANY, tmp_path, backend))

    shown = subprocess.run(
        [tool("readelf"), "-h", core], capture_output=True, text=True, check=True
    )
    with CoreFile(core) as opened:
        assert len(opened.program_headers) > 70_000
        assert opened.why_incomplete() is None
    assert re.search(r"Number of program headers:\s+65535 \(\d{5,}\)", shown.stdout)
