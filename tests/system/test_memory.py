"""Memory of odd kinds: guarded, beyond a file's end, shared, reserved, not inherited."""

import ctypes
import functools
import json
import mmap
import os
import shutil
import subprocess
import sys
from multiprocessing import shared_memory, sharedctypes
from pathlib import Path

import pytest

import gencore
from gencore.corefile import CoreFile
from gencore_backends.linux.outside_pages import Pages

PAGE = mmap.PAGESIZE
MIB = 1 << 20
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
MADV_DONTFORK, MADV_WIPEONFORK, MADV_GUARD_INSTALL = 10, 18, 102  # linux/mman.h
PROT_NONE, MAP_FIXED, MAP_NORESERVE = 0, 0x10, 0x4000
MANY = 500  # rows that would not fit into the pipe to the parent

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def address_of(area):
    """Return where a writable buffer begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


def advise(area, start, size, advice):
    """Call madvise(2) on bytes of an area; skip where the kernel does not know the advice."""
    address = ctypes.c_void_p(address_of(area) + start)
    if libc.madvise(address, ctypes.c_size_t(size), advice):
        pytest.skip(f"madvise({advice}): {os.strerror(ctypes.get_errno())}")


def read_core(path, address, size):
    """Return bytes of memory as a core has them; None where it does not."""
    with CoreFile(path) as core, path.open("rb") as file:
        for header in core.program_headers:
            inside = address - header.address
            if inside >= 0 and inside + size <= header.file_size:
                file.seek(header.offset + inside)
                return file.read(size)
    return None


def blocks(path):
    """Return the bytes that a file takes on disk."""
    return path.stat().st_blocks * 512


def put_marker(area, start=0):
    """Write 32 random bytes into an area; return them inverted, so that no copy is elsewhere."""
    for at in range(start, start + 32):
        area[at] = os.urandom(1)[0]
    return bytes(area[at] ^ 0xFF for at in range(start, start + 32))


def holds(path, inverted):
    """Whether a file holds a marker."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return data.find(bytes(byte ^ 0xFF for byte in inverted)) >= 0


class Copies(gencore.Collector, gencore.CoreSink):
    """Takes the bytes of a core as they come through a pipe."""

    name = "copies"
    api_version = (1, 0)

    def begin(self, dump):
        self._file = dump.create("copy")
        return self

    def write(self, chunk):
        self._file.write(chunk)

    def finish(self, _dump):
        self._file.close()
        return [self._file.artifact()]


@pytest.fixture(params=["raw", Copies], ids=["file", "pipe"])
def report_of(request, tmp_path):
    """Return a function that dumps, into a file or through a pipe, and returns the report."""

    def dump(**options):
        options = {"backend": "linux-elf", "directory": tmp_path, **options}
        return gencore.start(collectors=[request.param], **options).result(60)

    return dump


# What cannot be read


def test_guard_pages_are_left_out_in_silence(report_of):
    """Neither the clone's death nor a warning; what is beside them is in the core."""
    area = mmap.mmap(-1, 64 * PAGE, flags=PRIVATE)
    area.write(b"A" * len(area))
    for page in (4, 5, 40):
        advise(area, page * PAGE, PAGE, MADV_GUARD_INSTALL)

    report = report_of()

    assert (report.result, report.warnings) == ("complete", ())
    core = report.artifacts[0].path
    expected = b"A" * 4 * PAGE + bytes(2 * PAGE) + b"A" * 34 * PAGE + bytes(PAGE)
    assert read_core(core, address_of(area), 41 * PAGE) == expected


GUARDED_STACKS = """
import ctypes, gencore, json, mmap, sys, threading
libc, event, page = ctypes.CDLL(None), threading.Event(), mmap.PAGESIZE
areas = []

def wait():
    area = mmap.mmap(-1, 16 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(b"A" * len(area))
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(page), 102)
    areas.append(area)
    event.wait()

threads = [threading.Thread(target=wait) for _ in range(40)]
for thread in threads:
    thread.start()
while len(areas) < len(threads):
    pass
reports = [
    gencore.start(directory=sys.argv[1], collectors=["raw"], content=content).result()
    for content in ("full", "private", "stacks", "triage")
]
event.set()
print(json.dumps([[report.result, *report.warnings] for report in reports]))
"""


def test_every_content_is_complete_with_guards_beside_stacks(python, tmp_path):
    """As with glibc 2.42 and later, which guards the stack of every thread so."""
    assert python(GUARDED_STACKS, tmp_path) == [["complete"]] * 4


OLD_KERNEL = """
import ctypes, gencore, json, mmap, os, struct, sys
SYS_IOCTL = {"x86_64": 16, "aarch64": 29}[os.uname().machine]
PAGEMAP_SCAN, ENOTTY = 0xC0606610, 25
filters = b"".join(struct.pack("HBBI", *row) for row in [
    (0x20, 0, 0, 0), (0x15, 0, 3, SYS_IOCTL), (0x20, 0, 0, 24), (0x15, 0, 1, PAGEMAP_SCAN),
    (0x06, 0, 0, 0x00050000 | ENOTTY), (0x06, 0, 0, 0x7FFF0000)])
buffer = ctypes.create_string_buffer(filters)
program = struct.pack("HxxxxxxQ", len(filters) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
page = mmap.PAGESIZE
area = mmap.mmap(-1, 64 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.write(b"A" * len(area))
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc.madvise(ctypes.c_void_p(address + 4 * page), ctypes.c_size_t(page), 102)
report = gencore.start(directory=sys.argv[1], collectors=["raw"], backend="linux-elf").result()
print(json.dumps([report.result, *report.warnings, str(report.path_of("raw")), address]))
"""


def test_without_a_scan_the_page_map_is_read(python, tmp_path):
    """Before Linux 6.7, or where seccomp refuses the ioctl: the same core."""
    result, core, address = python(OLD_KERNEL, tmp_path)

    expected = b"A" * 4 * PAGE + bytes(PAGE) + b"A" * 59 * PAGE
    assert result == "complete"
    assert read_core(Path(core), address, 64 * PAGE) in {expected, b"A" * 64 * PAGE}


def test_a_file_mapped_beyond_its_end_costs_what_its_pages_cost(report_of, tmp_path):
    """One row in the report, and neither zeros on the disk nor in the stream."""
    path = tmp_path / "data.mdb"
    path.write_bytes(os.urandom(4 * PAGE))
    size = 64 << 30
    before = report_of().artifacts[0].size
    with path.open("r+b") as file:
        start = libc_mmap(size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno())
        try:
            report = report_of()
        finally:
            libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(size))

    # The process itself grows between two dumps: by the stacks of threads, for instance.
    assert report.artifacts[0].size < before + size // 64
    (row,) = [warning for warning in report.warnings if f"{start + 4 * PAGE:#x}" in warning]
    assert f"{size - 4 * PAGE:,} bytes unreadable" in row
    assert len(report.warnings) == 1


def libc_mmap(size, protection, flags, fd):
    """Map a file without asking for its size, as mmap.mmap does; return the address."""
    libc.mmap.restype = ctypes.c_void_p
    start = libc.mmap(None, size, protection, flags, fd, 0)
    assert start != ctypes.c_void_p(-1).value
    return start


def test_a_gap_without_access_is_no_warning(report_of, tmp_path):
    """As wheels have it between the parts of a library: behind the end of the file."""
    path = tmp_path / "library.so"
    path.write_bytes(bytes(PAGE))
    gap = mmap.mmap(-1, 512 * PAGE)
    with path.open("rb") as file:
        libc.mmap(
            address_of(gap), 512 * PAGE, PROT_NONE, mmap.MAP_PRIVATE | MAP_FIXED, file.fileno(), 0
        )

    report = report_of()

    assert (report.result, report.warnings) == ("complete", ())


def test_more_unreadable_ranges_than_the_pipe_holds_are_summed_up(report_of, tmp_path):
    """None is lost: the first are named, the others counted."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    with path.open("r+b") as file:
        starts = [
            libc_mmap(2 * PAGE, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno())
            for _ in range(MANY)
        ]
        held = [mmap.mmap(-1, PAGE, flags=PRIVATE) for _ in range(2)]
        report = report_of(threads="caller")
        for start in starts:
            libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(2 * PAGE))

    sizes = [int(w.split(": ")[1].split(" ")[0].replace(",", "")) for w in report.warnings]
    assert len(report.warnings) <= 21
    assert sum(sizes) == 2 * PAGE * MANY
    assert held


# What was reserved


@pytest.mark.parametrize("runs", [511, 513, 2000, 4097, 8193, 20_000])
def test_every_run_of_pages_is_in_the_core_once(report_of, runs):
    """Arenas of small objects have holes: a gigabyte of them is a thousand runs of pages."""
    area = mmap.mmap(-1, (2 * runs + 1) * PAGE, flags=PRIVATE)
    for run in range(runs):
        area[2 * run * PAGE : 2 * run * PAGE + 4] = run.to_bytes(4, "little")

    report = report_of()

    assert report.result == "complete"
    core = read_core(report.artifacts[0].path, address_of(area), (2 * runs - 1) * PAGE)
    found = [core[2 * run * PAGE : 2 * run * PAGE + 4] for run in range(runs)]
    assert found == [run.to_bytes(4, "little") for run in range(runs)]
    assert [start for start, _, _ in runs_of(area)] == [2 * run * PAGE for run in range(runs)]


def runs_of(area):
    """Return the runs of pages of an area as the reader of other processes has them."""
    pages, begin = Pages(os.getpid()), address_of(area)
    try:
        found = pages.runs(begin, begin + len(area))
        return [(start - begin, end - begin, own) for start, end, own in found]
    finally:
        pages.close()


def test_a_sparse_reservation_costs_what_is_used_of_it(report_of):
    """Terabytes, of which ten pages are there: those are in the core, and nothing else is."""
    before = report_of().artifacts[0].size
    size = 8 << 40
    area = mmap.mmap(-1, size, flags=PRIVATE | MAP_NORESERVE)
    places = [part * (size // 10) // PAGE * PAGE for part in range(10)]
    for place in places:
        area[place : place + 4] = b"used"

    report = report_of()

    assert report.result == "complete"
    assert report.artifacts[0].size < before + 16 * MIB
    core = report.artifacts[0].path
    assert [read_core(core, address_of(area) + place, 4) for place in places] == [b"used"] * 10


READ_BY_DRGN = """
import drgn, json, sys
core, *places = sys.argv[1:]
program = drgn.Program()
program.set_core_dump(core)
pairs = zip(map(int, places[::2]), map(int, places[1::2]))
print(json.dumps([program.read(address, size).hex() for address, size in pairs]))
"""


def test_memory_beside_used_memory_is_zeros_for_every_reader(tmp_path, tool, python):
    """What was allocated and not yet written is in the core, where it takes no room."""
    area = mmap.mmap(-1, 12 * MIB, flags=PRIVATE)
    area.write(b"A" * MIB)

    core = gencore.create_core(directory=tmp_path, backend="linux-elf")

    address = address_of(area) + 9 * MIB
    assert read_core(core, address, PAGE) == bytes(PAGE)
    assert blocks(core) < core.stat().st_size - 10 * MIB
    command = f"memory read -f x -s 4 -c 1 {address}"
    shown = subprocess.run(
        [tool("lldb"), "--batch", "-o", f"target create --core {core}", "-o", command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{address:#x}: 0x00000000" in shown.stdout
    read = python(READ_BY_DRGN, core, address, PAGE, address_of(area), MIB)
    assert [bytes.fromhex(data) for data in read] == [bytes(PAGE), b"A" * MIB]


def test_the_core_holds_what_memory_holds(tmp_path):
    """Every readable byte of every file and of memory that nobody changes meanwhile."""
    area = mmap.mmap(-1, 64 * PAGE, flags=PRIVATE)
    area.write(os.urandom(16 * PAGE) + bytes(16 * PAGE) + os.urandom(16 * PAGE))
    shared = mmap.mmap(-1, 16 * PAGE)
    shared.write(os.urandom(4 * PAGE))

    core = gencore.create_core(directory=tmp_path, backend="linux-elf")

    for memory in (area, shared):
        size = 4 * PAGE if memory is shared else len(memory)  # the rest it has not
        assert read_core(core, address_of(memory), size) == memory[:size]
    rows = Path("/proc/self/maps").read_text().splitlines()
    for row in (row for row in rows if " r-xp " in row and "/" in row):
        start, end = (int(part, 16) for part in row.split()[0].split("-"))
        assert read_core(core, start, end - start) == ctypes.string_at(start, end - start)


# What is shared


@pytest.mark.parametrize("content", ["full", "private"])
def test_shared_memory_without_a_name_is_in_the_core(tmp_path, content, backend):
    """Anonymous, or of memfd_create(2): nothing else has it."""
    memfd = os.memfd_create("memory")
    os.ftruncate(memfd, 8 * PAGE)
    areas = [mmap.mmap(-1, 8 * PAGE), mmap.mmap(memfd, 8 * PAGE)]
    markers = [put_marker(area, 4 * PAGE) for area in areas]

    core = gencore.create_core(directory=tmp_path, backend=backend, content=content)

    assert [holds(core, marker) for marker in markers] == [True, True]
    os.close(memfd)


def test_a_dump_gives_shared_memory_no_pages(tmp_path):
    """Looking at a hole of it would fill that, for every process that has it."""
    memfd = os.memfd_create("memory")
    os.ftruncate(memfd, 64 * MIB)
    area = mmap.mmap(memfd, 64 * MIB)
    area[32 * MIB] = 1
    before = os.fstat(memfd).st_blocks

    gencore.create_core(directory=tmp_path, backend="linux-elf")

    assert os.fstat(memfd).st_blocks == before
    area.close()
    os.close(memfd)


def shared_buffers(stack, tmp_path):
    """Return buffers of shared memory of each kind, by name."""
    file = stack.enter_context((tmp_path / "mapped").open("w+b"))
    file.truncate(3 * PAGE)
    memfd = os.memfd_create("secret")
    stack.callback(os.close, memfd)
    os.ftruncate(memfd, 3 * PAGE)
    named = shared_memory.SharedMemory(create=True, size=3 * PAGE)
    stack.callback(named.close)
    stack.callback(named.unlink)
    return {
        "private": mmap.mmap(-1, 3 * PAGE, flags=PRIVATE),
        "anonymous": mmap.mmap(-1, 3 * PAGE),
        "file": mmap.mmap(file.fileno(), 3 * PAGE),
        "memfd": mmap.mmap(memfd, 3 * PAGE),
        "RawArray": sharedctypes.RawArray("B", 3 * PAGE),
        "SharedMemory": named.buf,
    }


def test_excluded_shared_memory_is_in_no_core(tmp_path, backend):
    """Its bytes are zeros there and what they were here, and those beside them are in the core."""
    import contextlib

    with contextlib.ExitStack() as stack:
        buffers = shared_buffers(stack, tmp_path)
        start, size = PAGE // 2, PAGE + PAGE // 2  # from the middle of a page to the end of one
        secrets = {name: put_marker(area, start + 64) for name, area in buffers.items()}
        beside = {name: put_marker(area, 64) for name, area in buffers.items()}
        views = [memoryview(area).cast("B")[start : start + size] for area in buffers.values()]
        exclusions = [gencore.exclude(view) for view in views]
        core = gencore.create_core(directory=tmp_path, backend=backend)
        unchanged = {
            name: bytes(area[at] ^ 0xFF for at in range(start + 64, start + 96)) == secrets[name]
            for name, area in buffers.items()
        }
        for exclusion in exclusions:
            exclusion.release()

        views.clear()
        buffers.clear()

        assert [name for name, secret in secrets.items() if holds(core, secret)] == []
        assert [name for name, marker in beside.items() if not holds(core, marker)] == []
        assert all(unchanged.values())


def test_an_object_that_is_mapped_twice_is_excluded_twice(tmp_path, backend):
    """Also where only some of it is mapped, or privately."""
    memfd = os.memfd_create("secret")
    os.ftruncate(memfd, 8 * PAGE)
    first = mmap.mmap(memfd, 8 * PAGE)
    others = [
        mmap.mmap(memfd, 8 * PAGE),
        mmap.mmap(memfd, 4 * PAGE, offset=4 * PAGE),
        mmap.mmap(memfd, 8 * PAGE, flags=mmap.MAP_PRIVATE),
    ]
    secret = put_marker(first, 5 * PAGE)
    kept = put_marker(first, 6 * PAGE)

    with gencore.exclude(memoryview(first)[5 * PAGE : 5 * PAGE + 32]):
        core = gencore.create_core(directory=tmp_path, backend=backend)

    assert not holds(core, secret)
    assert holds(core, kept)
    assert all(len(area) for area in others)
    os.close(memfd)


# What a clone does not inherit


@pytest.mark.parametrize(
    ("advice", "part"),
    [(MADV_DONTFORK, "MADV_DONTFORK memory"), (MADV_WIPEONFORK, "MADV_WIPEONFORK memory")],
)
@pytest.mark.parametrize(
    "collector",
    [
        pytest.param("raw", id="file", marks=pytest.mark.exhaustive),
        pytest.param(Copies, id="pipe"),
    ],
)
def test_memory_that_a_clone_does_not_get_is_named(tmp_path, backend, advice, part, collector):
    """With its size: the dump is partial."""
    area = mmap.mmap(-1, 5 * PAGE, flags=PRIVATE)
    area.write(b"A" * len(area))
    advise(area, 0, len(area), advice)

    collectors = [collector, "manifest"]
    report = gencore.start(directory=tmp_path, backend=backend, collectors=collectors).result(60)

    assert report.result == "partial"
    (gap,) = report.skipped
    assert gap.part == part
    assert f"{5 * PAGE:,} bytes in 1 mapping" in gap.reason
    manifest = json.loads(report.path_of("manifest").read_text())
    assert {"part": part, "reason": gap.reason} in manifest["status"]["skipped"]
    area.close()


@pytest.mark.parametrize("kept_out", ["excluded", "MADV_DONTDUMP", "stacks"])
@pytest.mark.parametrize("advice", [MADV_DONTFORK, MADV_WIPEONFORK])
def test_memory_that_nobody_wants_is_not_missed(tmp_path, advice, kept_out):
    """What would not be in the core anyway makes no dump partial."""
    area = mmap.mmap(-1, 5 * PAGE, flags=PRIVATE)
    area.write(b"A" * len(area))
    exclusion = gencore.exclude(area) if kept_out == "excluded" else None
    if kept_out == "MADV_DONTDUMP":
        area.madvise(mmap.MADV_DONTDUMP)
    advise(area, 0, len(area), advice)

    content = "stacks" if kept_out == "stacks" else "full"
    report = gencore.start(
        directory=tmp_path, backend="linux-elf", collectors=["raw"], content=content
    ).result(60)

    assert (report.result, report.skipped) == ("complete", ())
    if exclusion is not None:
        exclusion.release()
    area.close()


STACK_NOT_INHERITED = """
import ctypes, gencore, json, sys, threading
libc = ctypes.CDLL(None)
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
ready, event = threading.Event(), threading.Event()

def wait():
    with open("/proc/thread-self/syscall") as file:
        sp = int(file.read().split()[-2], 16)
    for row in open("/proc/self/maps"):
        start, end = (int(part, 16) for part in row.split()[0].split("-"))
        if start <= sp < end:
            libc.madvise(start, end - start, 10)
    ready.set()
    event.wait()

threading.stack_size(1 << 20)
thread = threading.Thread(target=wait)
thread.start()
ready.wait()
report = gencore.start(directory=sys.argv[1], collectors=["raw"]).result()
event.set()
print(json.dumps([report.result, [str(part.reason) for part in report.problems]]))
"""


def test_a_stack_that_a_clone_does_not_get_costs_that_stack_only(python, tmp_path):
    """The registers that were put on it are missing, and the core says so."""
    result, problems = python(STACK_NOT_INHERITED, tmp_path)

    assert result == "partial"
    assert any("MADV_DONTFORK" in row or "does not inherit" in row for row in problems), problems


# What is to be handed out


HANDED_OUT = """
import gencore, os, sys, threading
event = threading.Event()

def wait_with_a_secret():
    secret = "local-" + os.environ["APP_KEY"][::-1] + "-of-a-thread"
    event.wait()
    return secret

thread = threading.Thread(target=wait_with_a_secret)
thread.start()
content, directory = sys.argv[1:3]
prepared, complete = "--prepared" in sys.argv, True
if content == "ask":
    print(flush=True)
    sys.stdin.read()
else:
    pipeline = gencore.Pipeline(
        directory=directory, name="dump", content=content, collectors=["manifest", "raw"]
    )
    if prepared:
        pipeline.prepare()
    complete = pipeline.run().result == "complete"
event.set()
sys.exit(not complete)
"""


def dump_from_outside(command, environment, directory, content):
    """Let an armed process wait while it is dumped."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    gencore_command = Path(sys.executable).with_name("gencore")
    with subprocess.Popen(
        [gencore_command, "exec", *command], env=environment, **pipes
    ) as process:
        process.stdout.readline()
        collectors = ["--collector", "manifest", "--collector", "raw"]
        options = ["-o", directory, "--content", content, *collectors]
        subprocess.run(
            [gencore_command, "dump", "--quiet", str(process.pid), *options],
            check=True,
            timeout=100,
        )
        process.stdin.close()
    assert process.returncode == 0


@pytest.fixture(scope="module", params=["inside", "prepared", "outside"])
def hand_out(tmp_path_factory, request):
    """Return a function that dumps a process with secrets once, from inside or from outside.

    It returns the core, the names of those that are in it, the manifest, and two of the secrets.
    """

    @functools.cache
    def dump(content):
        folder = tmp_path_factory.mktemp("handed-out")
        key, argument = os.urandom(16).hex(), os.urandom(16).hex()
        environment = {**os.environ, "APP_KEY": key, "LANG": "C.UTF-8", "POD_NAME": key}
        program = [sys.executable, "-c", HANDED_OUT]
        rest = [folder, f"--key={argument}"]
        if request.param == "outside":
            dump_from_outside([*program, "ask", *rest], environment, folder, content)
        else:
            command = [*program, content, *rest, *["--prepared"] * (request.param == "prepared")]
            subprocess.run(command, env=environment, check=True, timeout=100)
        (core,), (manifest,) = folder.glob("*.core"), folder.glob("*.json")
        found = {
            "environment": f"APP_KEY={key}",
            "arguments": f"{folder}\0--key={argument}",  # as the kernel has put them
            "locals": f"local-{key[::-1]}",
        }
        data = core.read_bytes()
        in_core = {name for name, text in found.items() if text.encode() in data}
        return core, in_core, json.loads(manifest.read_text()), (key, argument)

    return dump


def test_a_full_core_has_them_all(hand_out):
    """Otherwise the tests below would show nothing."""
    assert hand_out("full")[1] == {"environment", "arguments", "locals"}


@pytest.mark.parametrize("content", ["stacks", "triage"])
def test_stacks_have_neither_arguments_nor_environment(hand_out, content):
    """The kernel puts both above the main thread's first frame."""
    core, in_core, manifest, _ = hand_out(content)

    assert in_core <= {"locals"}
    assert in_core == set() or content == "stacks"
    assert manifest["core"]["content"] == content
    with CoreFile(core) as opened:
        (prpsinfo,) = [note.data for note in opened.notes if note.type == "NT_PRPSINFO"]
    arguments = prpsinfo[56:].rstrip(b"\0").decode()
    assert arguments == sys.executable[:79]


def test_a_manifest_for_triage_has_the_program_only(hand_out):
    """No other argument, and nothing that came from the environment."""
    _, _, manifest, secrets = hand_out("triage")

    argv = manifest["process"]["argv"]
    assert argv == [sys.executable, *["[redacted]"] * (len(argv) - 1)]
    assert manifest["environment"]["allowed"] == {}
    assert manifest["environment"]["redacted"] > 0
    assert manifest["k8s"] is None
    assert not [secret for secret in secrets if secret in json.dumps(manifest)]


@pytest.mark.parametrize("content", ["stacks", "triage"])
def test_every_python_stack_is_shown(hand_out, tool, content):
    """All frames of them, with names and lines."""
    core = hand_out(content)[0]

    command = [tool("pystack"), "--no-color", "core", core, os.path.realpath(sys.executable)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    for function in ("wait_with_a_secret", "_bootstrap", "wait", "<module>"):
        assert f", in {function}\n" in shown


# What cannot be packed


REPLACED = """
import ctypes, gencore, json, os, sys
libc = ctypes.CDLL(None)
for capability in range(64):
    libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], *sys.argv[1:3]])
"""
REPLACED_LATER = """
import ctypes, gencore, json, os, sys
library, directory = sys.argv[1:3]
ctypes.CDLL(library)
os.unlink(library)
with open(library, "wb") as file:
    file.write(b"another version")
cores = {
    content: str(gencore.create_core(directory=directory, name=content, content=content))
    for content in ("full", "private", "stacks", "triage")
}
print(json.dumps(cores))
"""


def test_code_of_a_replaced_library_is_in_every_core(python, tmp_path):
    """Its file cannot be read any more, in a container at least."""
    if not shutil.which("cc"):
        pytest.skip("there is no compiler")
    marker = os.urandom(8).hex()
    (tmp_path / "x.c").write_text(f'const char *f(void) {{ return "{marker}"; }}\n')
    library = tmp_path / "libx.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, tmp_path / "x.c"], check=True, timeout=60
    )

    cores = python(REPLACED, library, tmp_path, REPLACED_LATER)

    assert {
        content: marker.encode() in Path(path).read_bytes() for content, path in cores.items()
    } == {
        "full": True,
        "private": True,
        "stacks": True,
        "triage": True,
    }
