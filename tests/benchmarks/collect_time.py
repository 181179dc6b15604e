"""Compare a bundle with ``gcore`` followed by ``tar czf``.

    python tests/benchmarks/collect_time.py [--rounds N] [--theirs N] [MiB]

gencore dumps this process, for which a recorder stands by; gcore dumps a second one that has the
same heap, and sleeps. In turns. Target: at least 15 times faster. Needs gdb.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import MIB, emptied, heap, introduce, spread, verdict, workplace

import gencore

FACTOR = 15
_TARGET = """
import sys
sys.path.insert(0, sys.argv[1])
import gencore, measuring
ballast = measuring.heap(int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def target(size: int) -> Iterator[int]:
    """Start a process with the same heap; give its process ID."""
    command = [sys.executable, "-c", _TARGET, str(Path(__file__).parent), str(size)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def ours(directory: Path) -> tuple[float, int]:
    """Return seconds, and bytes of the bundle."""
    pipeline = gencore.Pipeline(directory=emptied(directory))
    pipeline.prepare(standby=True)
    begin = time.perf_counter()
    bundle = pipeline.run().path_of("archive")
    return time.perf_counter() - begin, bundle.stat().st_size


def theirs(directory: Path, pid: int) -> tuple[float, float, int]:
    """Return seconds in all, seconds in gcore, and bytes of the tar."""
    emptied(directory)
    tar = directory / "core.tar.gz"
    begin = time.perf_counter()
    subprocess.run(["gcore", "-o", directory / "core", str(pid)], check=True, capture_output=True)
    dumped = time.perf_counter()
    subprocess.run(["tar", "czf", tar, "-C", directory, f"core.{pid}"], check=True)
    return time.perf_counter() - begin, dumped - begin, tar.stat().st_size


def main() -> None:
    """Print the one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("size", nargs="?", type=int, default=1024, metavar="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--theirs", type=int, default=1, help="rounds of gcore and tar")
    arguments = parser.parse_args()
    introduce(
        f"Time to the bundle, median (range): {arguments.rounds} of gencore, "
        f"{arguments.theirs} of gcore and tar"
    )
    mine, others = [], []
    with workplace() as directory, target(arguments.size) as pid:
        ballast = heap(arguments.size)
        for number in range(max(arguments.rounds, arguments.theirs)):
            if number < arguments.rounds:
                mine.append(ours(directory / "ours"))
            if number < arguments.theirs:
                others.append(theirs(directory / "theirs", pid))
            emptied(directory / "theirs")
        del ballast
    times, packed = zip(*mine, strict=True)
    other_times, gcore_times, other_packed = zip(*others, strict=True)
    ratio = statistics.median(other_times) / statistics.median(times)
    print(
        "| heap MiB | gcore + tar czf s | of it gcore s | tar.gz MiB | gencore s "
        "| bundle MiB | times faster | target |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {arguments.size} | {spread(other_times, 1, 1)} "
        f"| {statistics.median(gcore_times):.1f} | {other_packed[-1] / MIB:.0f} "
        f"| {spread(times, 1, 2)} | {packed[-1] / MIB:.0f} "
        f"| {ratio:.1f} | {verdict(met=ratio >= FACTOR)} |"
    )


if __name__ == "__main__":
    main()
