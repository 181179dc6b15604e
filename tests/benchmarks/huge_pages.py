"""Compare the pause of a dump that was prepared with huge pages with a bare clone before.

    python tests/benchmarks/huge_pages.py [--mib N] [--rounds N] [KIND ...]

Each kind of heap is that of a process of its own: small Python objects (objects), arrays (numpy,
without the huge pages that it would ask for itself), blocks of the C library (malloc). In that one
process the bare clone is measured in turns with pauses: first as the memory is, then with the
memory collapsed right before each. The clone's median before is what the pause after is divided
by. Where a step took too long, or no huge page was free, it is prepared anew. Targets at 1 GiB: at
most 0.22 times for objects, and 0.06 times for the others.
"""

import argparse
import ctypes
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import (
    MIB,
    compile_bare_clone,
    emptied,
    interleaved,
    introduce,
    spread,
    verdict,
    workplace,
)

import gencore

TARGETS = {"objects": 0.22, "numpy": 0.06, "malloc": 0.06}
BYTES_PER_OBJECT = 580
BLOCK = 48 << 10
ATTEMPTS = 20


class Small:
    """An object as services have millions."""

    def __init__(self, number: int) -> None:
        self.name = f"name {number}"
        self.tags = [number, str(number)]
        self.row = {"number": number}


def objects(mebibytes: int) -> object:
    """Fill so much memory with small objects."""
    return [Small(number) for number in range(mebibytes * MIB // BYTES_PER_OBJECT)]


def numpy(mebibytes: int) -> object:
    """Fill it with arrays."""
    from numpy import ones

    return [ones(16 * MIB // 8) for _ in range(mebibytes // 16)]


def malloc(mebibytes: int) -> object:
    """Fill it with blocks that the C library does not map one by one."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    for _ in range(mebibytes * MIB // BLOCK):
        library.memset(library.malloc(BLOCK - 16), 1, BLOCK - 16)
    return None


def resident() -> int:
    """Return the bytes that this process has in memory."""
    rows = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(rows[1]) * 1024 if rows else 0


def collapse(pipeline: gencore.Pipeline) -> tuple[int, float, float, int]:
    """Prepare until all is collapsed. Return bytes, seconds, longest step and stops."""
    found = [pipeline.prepare(huge_pages=True)]
    while found[-1].stopped and len(found) < ATTEMPTS:
        found.append(pipeline.prepare(huge_pages=True))
    return (
        sum(one.collapsed for one in found),
        sum(one.seconds for one in found),
        max(one.longest_step for one in found),
        len(found) - 1,
    )


def measure(kind: str, mebibytes: int, rounds: int) -> None:
    """Print the row of one kind, whose heap this process gets."""
    kept = {"objects": objects, "numpy": numpy, "malloc": malloc}[kind](mebibytes)
    with workplace() as directory:
        bare_clone = compile_bare_clone(directory)
        cores = directory / "cores"
        pipeline = gencore.Pipeline(collectors=["manifest"], directory=cores)

        def pause() -> float:
            emptied(cores)
            dump = pipeline.start()
            dump.result()
            return dump.pause.total

        emptied(cores)
        pipeline.prepare()
        before, pause_before = interleaved(lambda: bare_clone(None), pause, rounds)
        size = resident()
        collapsed, seconds, longest, stops = collapse(pipeline)
        grown = resident() - size
        after, pause_after = interleaved(
            lambda: (collapse(pipeline), bare_clone(None))[1],
            lambda: (collapse(pipeline), pause())[1],
            rounds,
        )
    del kept
    ratio = statistics.median(pause_after) / statistics.median(before)
    print(
        f"| {kind} | {size // MIB} | {spread(before, 1e-3, 2)} | {spread(pause_before, 1e-3, 2)} "
        f"| {spread(pause_after, 1e-3, 2)} | {spread(after, 1e-3, 2)} | {ratio:.3f} "
        f"| {verdict(met=ratio <= TARGETS[kind])} | {collapsed // MIB} | {seconds:.2f} "
        f"| {longest * 1e3:.0f} | {stops} | {grown / MIB:+.0f} |",
        flush=True,
    )


def main() -> None:
    """Print one row for each kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(TARGETS), metavar="KIND")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=TARGETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only, arguments.mib, arguments.rounds)
        return
    introduce(f"Pause with huge pages, median (range) of {arguments.rounds}")
    print(
        "| heap | MiB | bare clone before ms | pause before ms | pause after ms "
        "| bare clone after ms | pause after / bare clone before | target | collapsed MiB "
        "| in s | longest step ms | stops | grown MiB |\n|" + "---|" * 13,
        flush=True,
    )
    for kind in arguments.kinds:
        options = ["--only", kind, "--mib", str(arguments.mib), "--rounds", str(arguments.rounds)]
        environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
        subprocess.run([sys.executable, __file__, *options], check=True, env=environment)


if __name__ == "__main__":
    main()
