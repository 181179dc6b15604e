"""Compare the rate of a core through a pipe with a plain copy of the same memory into a pipe.

    python tests/benchmarks/pipe_rate.py [--rounds N] [MiB ...]

Both are read in this process, in calls of 1 MiB that go nowhere. The plain copy is a forked child
that writes the heap with write(2), 1 MiB at a time. Targets: at least 2 GB/s, and at least 0.7 of
the plain copy.
"""

import argparse
import fcntl
import os
import statistics
import time
from pathlib import Path

from measuring import MIB, heap, interleaved, introduce, verdict

import gencore
from gencore.output import Output
from gencore_backends.linux.elf import LinuxElf

RATE, FACTOR = 2e9, 0.7


def drain(fd: int) -> int:
    """Read to the end; return the bytes."""
    buffer, total = bytearray(MIB), 0
    with os.fdopen(fd, "rb", buffering=0) as reader:
        while length := reader.readinto(buffer):
            total += length
    return total


def plain_copy(ballast: list[bytearray]) -> float:
    """Return seconds for each byte."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, MIB)
    begin = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        for block in ballast:
            view = memoryview(block)
            while view:
                view = view[os.write(writer, view[:MIB]) :]
        os._exit(0)
    os.close(writer)
    total = drain(reader)
    os.waitpid(pid, 0)
    return (time.perf_counter() - begin) / total


def core(backend: LinuxElf) -> float:
    """Return seconds for each byte, from the clone's end to the last byte."""
    output = Output(Path("unused"), "unused")
    with backend.snapshot(gencore.DumpRequest(), output, to_file=False) as snapshot:
        snapshot.pause_ended()
        begin = time.perf_counter()
        stream = snapshot.core()
        total = sum(map(len, stream))
        stream.wait()
        if stream.incomplete is not None:
            raise SystemExit(stream.incomplete)
        return (time.perf_counter() - begin) / total


def main() -> None:
    """Print one row for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[1024, 4096], metavar="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    introduce(f"Rate through a pipe, GB/s, median of {arguments.rounds}")
    backend = LinuxElf()
    if not backend.probe(gencore.DumpRequest()).ok:
        raise SystemExit("linux-elf does not work here")
    print("| heap MiB | plain copy GB/s | linux-elf GB/s | ratio | targets |")
    print("|---|---|---|---|---|")
    for size in arguments.sizes:
        ballast = heap(size)
        plains, cores = interleaved(
            lambda ballast=ballast: plain_copy(ballast), lambda: core(backend), arguments.rounds
        )
        del ballast
        plain, ours = 1 / statistics.median(plains), 1 / statistics.median(cores)
        met = ours >= RATE and ours >= FACTOR * plain
        print(
            f"| {size} | {plain / 1e9:.2f} | {ours / 1e9:.2f} | {ours / plain:.2f} "
            f"| {verdict(met=met)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
