"""The core of a live process, opened with the tools that people open cores with."""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading

import pytest

import gencore
from gencore.corefile import CoreFile


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
    yield threads
    jobs.put(None)
    lock.release()
    event.set()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module", params=["linux-elf", "linux-sigsegv"])
def dumped(request, tmp_path_factory):
    """Dump this very process, with a marker in memory that stands nowhere on disk."""
    marker = f"gencore-marker-{os.urandom(16).hex()}".encode()
    with threads_waiting() as threads:
        directory = tmp_path_factory.mktemp("core")
        core = gencore.create_core(directory=directory, backend=request.param)
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
