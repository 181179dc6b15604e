"""The least program that makes the parts of a bundle. Not a benchmark itself."""

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import MIB, emptied

from gencore.bundle import GZIP
from gencore.bundle.tree_hash import block_hashes

libc = ctypes.CDLL(None, use_errno=True)


class Vector(ctypes.Structure):
    """A piece of memory, see readv(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("size", ctypes.c_size_t))


def least(core: Path, bundle: bytes, directory: Path) -> float:
    """Return the seconds of the least program that makes the same of the bytes of a core.

    They are the memory of a process that forks. The child lends its pages to a pipe for each
    processor, at the end of which a process does its share of the work: none waits for another,
    and no bytes are put in order.
    """
    processors, copies = os.cpu_count() or 1, emptied(directory)
    packed = len(bundle) // processors
    pipes = [os.pipe() for _ in range(processors)]
    pids = [
        forked(
            functools.partial(
                do_share,
                pipes,
                number,
                memoryview(bundle)[number * packed :][:packed],
                copies / str(number),
            )
        )
        for number in range(processors)
    ]
    with in_memory(core) as memory:
        begin = time.perf_counter()
        pids.append(forked(functools.partial(lend, memory, pipes)))
        for pipe in pipes:
            close(*pipe)
        for pid in pids:
            os.waitpid(pid, 0)
        seconds = time.perf_counter() - begin
    emptied(copies)
    return seconds


@contextlib.contextmanager
def in_memory(core: Path) -> Iterator[mmap.mmap]:
    """Yield the bytes of a file, in memory that a child inherits."""
    size, flags = core.stat().st_size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, size, flags=flags) as memory, core.open("rb", buffering=0) as file:
        while file.readinto(memoryview(memory)[file.tell() :][: 64 * MIB]):
            pass
        yield memory


def lend(memory: mmap.mmap, pipes: list[tuple[int, int]]) -> None:
    """Lend a share of the memory to each pipe, as a clone does, see vmsplice(2)."""
    share = len(memory) // MIB // len(pipes) * MIB
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def lend_share(number: int, writer: int) -> None:
        at, end = number * share, (number + 1) * share
        while at < end:
            part = Vector(address + at, min(MIB, end - at))
            lent = libc.vmsplice(writer, ctypes.byref(part), 1, 0)
            if lent <= 0:
                raise OSError(ctypes.get_errno(), "vmsplice")
            at += lent

    threads = [
        threading.Thread(target=lend_share, args=(number, writer))
        for number, (_, writer) in enumerate(pipes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def do_share(pipes: list[tuple[int, int]], number: int, packed: memoryview, copy: Path) -> None:
    """Take blocks from a pipe, hash and compress them; write what they come to, and hash it."""
    for other, pipe in enumerate(pipes):
        close(*(pipe if other != number else pipe[1:]))
    fcntl.fcntl(pipes[number][0], fcntl.F_SETPIPE_SZ, MIB)
    compress = GZIP.compressor(GZIP.level)
    with os.fdopen(pipes[number][0], "rb", buffering=2 * MIB) as reader:
        while pair := memoryview(reader.read(2 * MIB)):
            block_hashes(pair[:MIB], pair[MIB:])
            for block in (pair[:MIB], pair[MIB:]):
                compress(block)
    digest = hashlib.sha256()
    with copy.open("wb", 0) as file:
        for at in range(0, len(packed), MIB):
            digest.update(packed[at : at + MIB])
            file.write(packed[at : at + MIB])


def close(*fds: int) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


def forked(task: Callable[[], object]) -> int:
    """Start a child that does something and ends; return its process ID."""
    pid = os.fork()
    if pid == 0:
        try:
            task()
        finally:
            os._exit(0)
    return pid
