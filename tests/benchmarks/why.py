"""Measure what `gencore why` costs.

    python tests/benchmarks/why.py [MiB ...] [--rounds N]

Wall time and CPU time of the whole command, its readers included, on a bundle of a process with
instances, dictionaries, lists, texts and numbers of about so many MiB; medians, also per GiB of
the core. Target: at most 5 s for a core of at most 384 MiB, and at most 2 s of CPU time per GiB.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from census import BYTES_OF_ONE, DUMPED, run
from measuring import MIB, introduce, verdict, workplace

from gencore.bundle import BundleReader

SECONDS, CPU_PER_GIB = 5.0, 2.0
SMALL = 384 * MIB
"""Bytes of the core of a process of 256 MiB, and what else the process has."""
PACKED = DUMPED.replace("create_core", "collect_core")


def why(bundle: Path, cache: Path) -> tuple[float, float]:
    """Return the seconds, and the CPU seconds, of one command."""
    command = [sys.executable, "-m", "gencore", "why", "--quiet", bundle]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def size_of_core(bundle: Path) -> int:
    """Return the bytes of the core in a bundle."""
    with BundleReader(bundle) as reader:
        return next(member.size for member in reader.members if member.path == "core")


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mebibytes", nargs="*", type=int, default=[256, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    introduce("What `gencore why` costs")
    print("| heap MiB | core GiB | s | CPU s | s per GiB | CPU s per GiB | seconds | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for mebibytes in options.mebibytes:
        with workplace() as directory:
            bundle = Path(run(PACKED, directory, mebibytes * MIB // BYTES_OF_ONE))
            size = size_of_core(bundle)
            rows = [why(bundle, directory / "cache") for _ in range(options.rounds)]
        seconds, used = (statistics.median(column) for column in zip(*rows, strict=True))
        gib = size / (1024 * MIB)
        quick = verdict(met=seconds <= SECONDS) if size <= SMALL else ""
        print(
            f"| {mebibytes} | {gib:.2f} | {seconds:.1f} | {used:.1f} | {seconds / gib:.1f} "
            f"| {used / gib:.1f} | {quick} | {verdict(met=used / gib <= CPU_PER_GIB)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
