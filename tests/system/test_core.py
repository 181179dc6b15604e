"""The core of a live process, opened with the tools that people open cores with."""

import contextlib
import mmap
import os
import queue
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gencore
from gencore.corefile import CoreFile
from gencore_backends.linux.elf import LinuxElf
from gencore_backends.linux.sigsegv import LinuxSigsegv

LEAST = {"linux-elf": "stacks", "linux-sigsegv": "private"}
"""The least content of each backend."""


@contextlib.contextmanager
def threads_waiting():
    """Run three threads, in a queue, a lock and an event, until the block ends."""
    jobs, lock, event = queue.Queue(), threading.Lock(), threading.Event()
    lock.acquire()

    def wait_in_queue():
        jobs.get()

    def wait_in_lock():
        with lock:
            pass

    def wait_in_event():
        event.wait()

    threads = [threading.Thread(target=f) for f in (wait_in_queue, wait_in_lock, wait_in_event)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        jobs.put(None)
        lock.release()
        event.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def dumped(backend, tmp_path_factory):
    """Dump this very process, with a marker in memory that stands nowhere on disk."""
    marker = f"gencore-marker-{os.urandom(16).hex()}".encode()
    with threads_waiting() as threads:
        directory = tmp_path_factory.mktemp("core")
        core = gencore.create_core(directory=directory, backend=backend)
        native_ids = [thread.native_id for thread in threads]
    yield core, marker, native_ids
    core.unlink()


def test_core_is_whole(dumped):
    """Every byte that the program headers promise is in the file."""
    with CoreFile(dumped[0]) as core:
        assert core.why_incomplete() is None


def test_core_speaks_of_the_process_and_not_of_the_clone(dumped):
    """The notes carry the parent's thread ids, the calling thread's first."""
    with CoreFile(dumped[0]) as core:
        assert core.thread_ids[0] == threading.get_native_id()
        assert set(core.thread_ids) >= set(dumped[2])


def test_every_note_speaks_of_the_process(dumped):
    """Ids, state and signal are those of the running process; layouts as in linux/elfcore.h."""
    with CoreFile(dumped[0]) as core:
        notes = {note.type: note.data for note in reversed(core.notes)}  # the caller's first
    ids = os.getppid(), os.getpgrp(), os.getsid(0)

    prstatus, prpsinfo = notes["NT_PRSTATUS"], notes["NT_PRPSINFO"]
    assert prstatus[:14] == bytes(14)  # si_signo, si_code, si_errno, pr_cursig
    assert struct.unpack_from("4i", prstatus, 32) == (threading.get_native_id(), *ids)
    assert prpsinfo[:3] == b"\0R\0"  # pr_state, pr_sname, pr_zomb
    assert struct.unpack_from("4i", prpsinfo, 24) == (os.getpid(), *ids)
    assert not any(notes["NT_SIGINFO"])


def test_core_from_another_thread_speaks_of_that_thread(tmp_path):
    """The registers are those of the thread that asked; the process is the same."""
    made = []

    def dump():
        made.append((threading.get_native_id(), gencore.create_core(directory=tmp_path)))

    thread = threading.Thread(target=dump)
    thread.start()
    thread.join()
    ((tid, path),) = made

    with CoreFile(path) as core:
        (prpsinfo,) = [note.data for note in core.notes if note.type == "NT_PRPSINFO"]
        assert core.thread_ids[0] == tid
    assert struct.unpack_from("i", prpsinfo, 24) == (os.getpid(),)


def test_a_program_is_not_taken_for_a_core():
    """It is an ELF file too."""
    with pytest.raises(gencore.IntegrityError, match="not a core"):
        CoreFile(os.path.realpath(sys.executable))


def test_half_a_core_says_how_much_of_it_is_there(dumped, tmp_path):
    """Both numbers are named."""
    with dumped[0].open("rb") as core, (tmp_path / "half").open("wb") as half:
        half.write(core.read(1 << 20))
    with CoreFile(tmp_path / "half") as core:
        assert core.why_incomplete().startswith("truncated: 1,048,576 of")


def test_core_names_the_mapped_files(dumped):
    """NT_FILE lists the interpreter."""
    with CoreFile(dumped[0]) as core:
        assert os.path.realpath(sys.executable) in {row.path for row in core.mapped_ranges}


def test_memory_is_in_the_core(dumped):
    """A string that exists only in memory is found in the file."""
    core, marker, _ = dumped

    assert marker in core.read_bytes()


def test_gdb_shows_the_calling_threads_native_backtrace(dumped, tool):
    """Gdb unwinds from the clone through CPython down to main."""
    commands = ["-ex", "info threads", "-ex", "bt"]
    arguments = [tool("gdb"), "-nx", "-batch", *commands, os.path.realpath(sys.executable)]
    shown = subprocess.run(
        [*arguments, dumped[0]], capture_output=True, text=True, check=True
    ).stdout

    assert f"LWP {threading.get_native_id()}" in shown
    assert "snapshot_take" in shown
    assert "_PyEval_EvalFrameDefault" in shown
    assert re.search(r"in (Py_BytesMain|pymain_main|main|_start)\b", shown)


def test_pystack_shows_every_threads_python_stack(dumped, tool):
    """Pystack reads the stacks of all threads, and who holds the GIL."""
    core, _, native_ids = dumped
    command = [tool("pystack"), "--no-color", "core", core, sys.executable]

    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    for native_id, function in zip(
        native_ids, ("wait_in_queue", "wait_in_lock", "wait_in_event"), strict=True
    ):
        stack = shown.partition(f"thread {native_id} ")[2].partition("Traceback for")[0]
        assert function in stack
    assert re.search(rf"thread {threading.get_native_id()} .*\[Has the GIL\]", shown)


def test_core_does_not_look_like_a_crash(dumped, tool):
    """No reader says that the process died of a signal."""
    command = [tool("pystack"), "--no-color", "core", dumped[0], sys.executable]

    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "SIGSEGV" not in shown


def test_private_content_is_smaller_and_still_readable(tmp_path, tool):
    """content='private' leaves clean file pages out, and pystack reads it all the same."""
    core = gencore.create_core(directory=tmp_path, content="private")
    full = gencore.create_core(directory=tmp_path)

    command = [tool("pystack"), "--no-color", "core", core, sys.executable]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "test_private_content_is_smaller" in shown
    assert core.stat().st_blocks < full.stat().st_blocks


def hide_notes(monkeypatch, hidden):
    """Make CoreFile read every core as if it lacked some notes."""
    whole = CoreFile.notes.func

    def fewer(core):
        return tuple(note for note in whole(core) if not hidden(note))

    monkeypatch.setattr(CoreFile, "notes", property(fewer))


@pytest.mark.parametrize(
    "collector", ["raw", pytest.param("archive", marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize("name", ["NT_PRSTATUS", "NT_AUXV", "NT_PRPSINFO", "NT_FILE"])
def test_core_without_a_needed_note_is_not_called_whole(
    tmp_path, monkeypatch, backend, collector, name
):
    """Every byte is there, but some reader could not use it; a piped core is looked at too."""
    hide_notes(monkeypatch, lambda note: note.type == name)

    report = gencore.Pipeline(collectors=[collector], directory=tmp_path, backend=backend).run()

    assert report.result == "partial"
    assert f"no {name} note" in report.failed[0].reason


@pytest.mark.parametrize(
    "collector", ["raw", pytest.param("archive", marks=pytest.mark.exhaustive)]
)
def test_core_without_one_threads_registers_is_not_called_whole(
    tmp_path, monkeypatch, backend, collector
):
    """The threads that the backend promised are compared with those that are found."""
    hide_notes(monkeypatch, lambda note: note.type == "NT_PRSTATUS" and tid_of(note) == waiting)
    with threads_waiting() as (first, *_):
        waiting = first.native_id
        report = gencore.Pipeline(
            collectors=[collector],
            directory=tmp_path,
            backend=backend,
            content=LEAST[backend],
        ).run()

    assert report.result == "partial"
    assert "the registers of 1 of" in report.failed[0].reason


def tid_of(note):
    """Return pr_pid of a struct elf_prstatus."""
    return struct.unpack_from("i", note.data, 32)[0]


def test_name_of_a_thread_cannot_pass_for_a_thread(tmp_path, backend):
    """A line end in it would begin another row of our note."""

    def serve():
        Path("/proc/thread-self/comm").write_text("\nthread 1 exact")
        ready.set()
        event.wait()

    ready, event = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    try:
        path = gencore.create_core(directory=tmp_path, backend=backend)
    finally:
        event.set()
        thread.join()

    with CoreFile(path) as core:
        named = {t.tid: t.name for t in core.recorded_threads}
    assert named[thread.native_id] == "?thread 1 exact"


def test_private_content_has_shared_anonymous_memory_and_every_first_page(tmp_path):
    """With the first page of an ELF file a debugger knows its build ID."""
    marker = os.urandom(32)
    with mmap.mmap(-1, 4096) as shared:
        shared[:32] = marker
        path = gencore.create_core(directory=tmp_path, content="private")
    data = path.read_bytes()

    with CoreFile(path) as core:
        libc = next(r for r in core.mapped_ranges if "/libc.so.6" in r.path and not r.file_offset)
        page = next(h for h in core.program_headers if h.address == libc.start)
    assert marker in data
    assert page.file_size >= 4096
    assert data[page.offset :][:4] == b"\x7fELF"


@pytest.mark.parametrize("content", ["full", "private"])
def test_size_is_estimated_from_above(tmp_path, content):
    """Or else a dump that was let in would fill the disk. Pages of deleted files are in each."""
    ballast = bytearray(os.urandom(1 << 20) * 50)
    gone = tmp_path / "gone"
    gone.write_bytes(ballast)
    with gone.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    gone.unlink()
    verdict = LinuxSigsegv().probe(gencore.DumpRequest(content=content))

    core = gencore.create_core(directory=tmp_path, content=content)

    assert len(ballast) + len(mapped) < core.stat().st_blocks * 512 <= verdict.core_size


@pytest.mark.parametrize("content", ["full", "private"])
def test_pages_of_files_that_nobody_changed_are_in_full_cores_only(tmp_path, content):
    """The code of the C library is one of them: whoever has the file does not need it."""
    with CoreFile(gencore.create_core(directory=tmp_path, content=content)) as core:
        libc = {row.start for row in core.mapped_ranges if "/libc.so.6" in row.path}
        code = [h for h in core.program_headers if h.address in libc and h.flags & 1]

    assert code
    for header in code:
        assert header.file_size == (header.memory_size if content == "full" else 0)


def test_space_for_stacks_does_not_grow_with_the_heap(tmp_path):
    """A dump of them is not refused because a dump of everything would not fit."""
    ballast = bytearray(os.urandom(1 << 20) * 200)
    verdict = LinuxElf().probe(gencore.DumpRequest(content="stacks"))

    core = gencore.create_core(directory=tmp_path, content="stacks")

    assert core.stat().st_blocks * 512 <= verdict.core_size < len(ballast)
