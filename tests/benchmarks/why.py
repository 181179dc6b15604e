"""Measure what `gencore why` and `gencore info` cost, beside what the machine can do.

    python tests/benchmarks/why.py [MiB ...] [--rounds N]

Wall time and CPU time of the whole commands, their readers included, on a bundle of a process with
instances, dictionaries, lists, texts and numbers of about so many MiB; medians, also per GiB of
the core. Beside them, in turns with them, in this process: isal unpacks the same bundle in one
thread, and as many bytes as the core has are copied into memory that is new.

Targets: `why` at most 5 s for a core of at most 384 MiB, else at most 5 s per GiB, which is 20 s
for 4 GiB; `info` at most 0.3 s.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from census import BYTES_OF_ONE, DUMPED, run
from isal import igzip
from measuring import MIB, introduce, verdict, workplace

from gencore.bundle import BundleReader

SECONDS, SECONDS_PER_GIB, INFO_SECONDS = 5.0, 5.0, 0.3
SMALL = 384 * MIB
"""Bytes of the core of a process of 256 MiB, and what else the process has."""
PACKED = DUMPED.replace("create_core", "collect_core")
PIECE = 1 << 20


def command(name: str, bundle: Path, cache: Path) -> None:
    """Run a command; `why` unpacks the bundle, and removes the copy."""
    quiet = ["--quiet"] if name == "why" else []
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    subprocess.run(
        [sys.executable, "-m", "gencore", name, *quiet, bundle],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def unpack(bundle: Path) -> None:
    """Decompress the bundle in one thread, into a buffer that is used again."""
    room = memoryview(bytearray(PIECE))
    with igzip.open(bundle) as file:
        while file.readinto(room):
            pass


def copy(size: int) -> None:
    """Copy so many bytes of memory that is used again into memory that is new."""
    source = np.ones(PIECE, np.uint8)
    target = np.empty((-(-size // PIECE), PIECE), np.uint8)
    for row in target:
        row[:] = source


def used() -> float:
    """Return the CPU seconds of this process, and of those that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def took(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds, and the CPU seconds, of some work."""
    before, begin = used(), time.monotonic()
    work()
    return time.monotonic() - begin, used() - before


def size_of_core(bundle: Path) -> int:
    """Return the bytes of the core in a bundle."""
    with BundleReader(bundle) as reader:
        return next(member.size for member in reader.members if member.path == "core")


def measure(bundle: Path, cache: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median seconds, and CPU seconds, of each."""
    size = size_of_core(bundle)
    works = {
        "why": lambda: command("why", bundle, cache),
        "info": lambda: command("info", bundle, cache),
        "unpacking by isal": lambda: unpack(bundle),
        "copying memory": lambda: copy(size),
    }
    times = [{name: took(work) for name, work in works.items()} for _ in range(rounds)]
    return {
        name: tuple(map(statistics.median, zip(*(row[name] for row in times), strict=True)))
        for name in works
    }


def target_of(name: str, seconds: float, size: int) -> str:
    """Return whether the target of a command is met; nothing for what has none."""
    if name == "info":
        return verdict(met=seconds <= INFO_SECONDS)
    if name != "why":
        return ""
    most = SECONDS if size <= SMALL else SECONDS_PER_GIB * size / (1024 * MIB)
    return verdict(met=seconds <= most)


def main() -> None:
    """Print a row for each size and work."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mebibytes", nargs="*", type=int, default=[256, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    introduce("What `gencore why` and `gencore info` cost")
    print("| heap MiB | core GiB | what | s | CPU s | s per GiB | CPU s per GiB | target |")
    print("|---|---|---|---|---|---|---|---|")
    for mebibytes in options.mebibytes:
        with workplace() as directory:
            bundle = Path(run(PACKED, directory, mebibytes * MIB // BYTES_OF_ONE))
            size = size_of_core(bundle)
            rows = measure(bundle, directory / "cache", options.rounds)
        gib = size / (1024 * MIB)
        for name, (seconds, cpu) in rows.items():
            print(
                f"| {mebibytes} | {gib:.2f} | {name} | {seconds:.2f} | {cpu:.2f} "
                f"| {seconds / gib:.2f} | {cpu / gib:.2f} | {target_of(name, seconds, size)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
