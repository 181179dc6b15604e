"""Compare the time to a finished core with the kernel's own dump of the same kind of child.

    python tests/benchmarks/core_time.py [--rounds N] [MiB ...]

The other side is bare_clone.c: a clone of this process that asks for a full core and kills itself
with SIGSEGV; its time ends when waitpid returns. Ours ends when the report is there, with the core
checked, synced to disk and under its final name. In turns, in this process.
Target: at most 1.1 times.
"""

import argparse
import os
import statistics
import time

from measuring import (
    compile_bare_clone,
    emptied,
    heap,
    interleaved,
    introduce,
    spread,
    verdict,
    workplace,
)

import gencore

FACTOR = 1.1


def main() -> None:
    """Print one row for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[256, 1024, 4096], metavar="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    introduce(f"Time to the core against the kernel's dump, median (range) of {arguments.rounds}")
    with workplace() as directory:
        bare_clone = compile_bare_clone(directory)
        cores = directory / "cores"
        pipeline = gencore.Pipeline(collectors=["raw"], directory=cores)

        def kernel() -> float:
            seconds = bare_clone(os.fsencode(emptied(cores)))
            if len(list(cores.iterdir())) != 1:
                raise SystemExit("the kernel has written no core; see kernel.core_pattern")
            emptied(cores)
            return seconds

        def ours() -> float:
            emptied(cores)
            begin = time.perf_counter()
            report = pipeline.run()
            seconds = time.perf_counter() - begin
            if report.result != "complete":
                raise SystemExit(f"the dump is {report.result}: {report.failed}")
            emptied(cores)
            return seconds

        print("| heap MiB | kernel's dump s | gencore s | ratio | target |")
        print("|---|---|---|---|---|")
        for size in arguments.sizes:
            ballast = heap(size)
            kernels, cores_of_ours = interleaved(kernel, ours, arguments.rounds)
            del ballast
            ratio = statistics.median(cores_of_ours) / statistics.median(kernels)
            print(
                f"| {size} | {spread(kernels, 1, 2)} | {spread(cores_of_ours, 1, 2)} "
                f"| {ratio:.2f} | {verdict(met=ratio <= FACTOR)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
