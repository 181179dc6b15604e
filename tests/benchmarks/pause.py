"""Compare the pause of a dump with a bare clone of the same process, made in C.

    python tests/benchmarks/pause.py [--rounds N] [MiB ...]

The bare clone ends at once; its time is taken in C around the one system call. Both are measured
in turns in this process. Target: the pause is at most 1.2 times the bare clone, plus 1 ms.
"""

import argparse
import statistics

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

FACTOR, MARGIN = 1.2, 1e-3


def main() -> None:
    """Print one row for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[256, 1024, 4096], metavar="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    introduce(f"Pause against a bare clone, median (range) of {arguments.rounds}")
    with workplace() as directory:
        bare_clone = compile_bare_clone(directory)
        cores = directory / "cores"
        pipeline = gencore.Pipeline(collectors=["raw"], directory=cores)

        def bare() -> float:
            emptied(cores)
            return bare_clone(None)

        def pause() -> float:
            emptied(cores)
            dump = pipeline.start()
            report = dump.result()
            if report.result != "complete":
                raise SystemExit(f"the dump is {report.result}: {report.failed}")
            inside.append(dump.pause.phases["clone"])
            return dump.pause.total

        print("| heap MiB | bare clone ms | pause ms | of it the clone ms | ratio | target |")
        print("|---|---|---|---|---|---|")
        for size in arguments.sizes:
            ballast = heap(size)
            inside: list[float] = []
            bares, pauses = interleaved(bare, pause, arguments.rounds)
            del ballast
            ours, theirs = statistics.median(pauses), statistics.median(bares)
            print(
                f"| {size} | {spread(bares, 1e-3, 2)} | {spread(pauses, 1e-3, 2)} "
                f"| {statistics.median(inside[1:]) * 1e3:.2f} | {ours / theirs:.2f} "
                f"| {verdict(met=ours <= FACTOR * theirs + MARGIN)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
