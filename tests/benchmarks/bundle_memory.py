"""Measure the memory that packing and verifying a bundle take beyond what the process had.

    python tests/benchmarks/bundle_memory.py [MiB]

Packing: the peak of this process's resident memory (VmHWM, reset through /proc/self/clear_refs,
see proc(5)) minus what was resident before. Verifying: the peak of "gencore verify" minus that of
"gencore --version". Target: below 100 MiB each.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from measuring import MIB, heap, introduce, verdict, workplace

import gencore

LIMIT = 100 * MIB


def resident(field: str) -> int:
    """Return VmRSS or VmHWM in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(field))
    return int(value) * 1024


PEAK = """if True:
    import atexit, pathlib, sys
    from gencore.cli import main
    status = pathlib.Path("/proc/self/status")
    atexit.register(lambda: print(status.read_text(), file=sys.stderr))
    main()
"""


def peak_of(*arguments: object) -> int:
    """Return the highest resident memory of a command of ours, in bytes.

    Not from wait4(2): a process that was started by a large one counts that one's memory too.
    """
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (value,) = (row.split()[1] for row in done.stderr.splitlines() if row.startswith("VmHWM"))
    return int(value) * 1024


def pack(pipeline: gencore.Pipeline) -> tuple[Path, int, float]:
    """Make a bundle; return it, the bytes beyond what there was, and the seconds."""
    Path("/proc/self/clear_refs").write_text("5")
    before, begin = resident("VmRSS"), time.perf_counter()
    report = pipeline.run()
    return report.path_of("archive"), resident("VmHWM") - before, time.perf_counter() - begin


def main() -> None:
    """Print one row for each of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("size", nargs="?", type=int, default=4096, metavar="MiB")
    arguments = parser.parse_args()
    introduce(f"Memory to pack and to verify {arguments.size} MiB")
    print("| what | seconds | MiB more than before | target |")
    print("|---|---|---|---|")
    with workplace() as directory:
        pipeline = gencore.Pipeline(directory=directory)
        pack(pipeline)[0].unlink()  # everything is imported now
        ballast = heap(arguments.size)
        bundle, more, seconds = pack(pipeline)
        print(f"| pack | {seconds:.1f} | {more / MIB:.0f} | {verdict(met=more < LIMIT)} |")
        del ballast
        begin = time.perf_counter()
        more = peak_of("verify", bundle) - peak_of("--version")
        seconds = time.perf_counter() - begin
        print(f"| verify | {seconds:.1f} | {more / MIB:.0f} | {verdict(met=more < LIMIT)} |")


if __name__ == "__main__":
    main()
