"""What a dump costs its caller, and how long it takes, beside threads that compute in Python.

    python tests/benchmarks/busy_threads.py [--rounds N]

One run in one process: dumps of a prepared pipeline, idle and beside 4 and 16 busy threads, made
by a recorder and, for comparison, on a thread of the process itself. Prints a table of medians,
and of their ratios to those of the idle process.

Beside busy threads, whoever has had the GIL for the interpreter's switch interval of 5 ms has to
give it up, and waits until it has its turn again. No call that takes longer than that can do with
less, so that the table has this one wait, and the ratio of `start` to what it takes idle and this
wait.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import introduced, workplace

import gencore

THREADS = (0, 4, 16)
APART = 0.5
"""Seconds between two dumps: the thread that waited for one needs the GIL to end, and the next
would wait for it, so that no core has it."""


class Computing:
    """Threads that hold the GIL as long as they get it."""

    def __init__(self, count: int) -> None:
        self._over = False
        self._threads = [threading.Thread(target=self._compute) for _ in range(count)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join()

    def _compute(self) -> None:
        while not self._over:
            sum(range(50))


def turn(rounds: int) -> float:
    """Return how long a thread waits that has to give the GIL up, in ms: a median."""
    waits = []
    for _ in range(rounds):
        time.sleep(0.01)  # others have had theirs: a turn begins
        begin = last = time.perf_counter()
        longest = 0.0
        while last < begin + 2 * sys.getswitchinterval():
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        waits.append(longest)
    return statistics.median(waits) * 1e3


def measure(start: Callable[[], gencore.Dump], rounds: int) -> dict[str, float]:
    """Return medians, in ms."""
    calls, pauses, wholes = [], [], []
    for _ in range(rounds):
        time.sleep(APART)
        begin = time.perf_counter()
        dump = start()
        calls.append(time.perf_counter() - begin)
        report = dump.result()
        wholes.append(time.perf_counter() - begin)
        pauses.append(report.pause.total)
        for artifact in report.artifacts:
            if artifact.path is not None:
                artifact.path.unlink()
    figures = {"start": calls, "pause": pauses, "whole": wholes}
    return {name: round(statistics.median(rows) * 1e3, 1) for name, rows in figures.items()}


def compare(directory: Path, rounds: int) -> Iterator[str]:
    """Yield the rows of both ways to make a dump."""
    pipeline = gencore.Pipeline(directory=directory)
    pipeline.prepare()
    ways = {
        "recorder": (pipeline.start, rounds),
        "thread of the process": (lambda: pipeline.start_here("for comparison"), 1),
    }
    for name, (start, count) in ways.items():
        idle: dict[str, float] = {}
        for threads in THREADS:
            print(f"{name}, {threads} busy threads", file=sys.stderr)
            with Computing(threads):
                row = measure(start, count)
                row["turn"] = turn(10 * rounds)
            idle = idle or row
            figures = [f"{row[what]:,.1f}" for what in ("turn", "start", "pause", "whole")]
            limit = idle["start"] + row["turn"]
            ratios = [
                row["start"] / limit,
                *(row[what] / idle[what] for what in ("start", "whole")),
            ]
            cells = [name, str(threads), *figures, *(f"{ratio:.2f}" for ratio in ratios)]
            yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(introduced("Dumps beside busy threads"))
    names = ("made by", "busy threads", "one wait, ms", "start, ms", "pause, ms", "whole, ms")
    print(f"| {' | '.join(names)} | start / (idle + wait) | start / idle | whole / idle |")
    print("|" + " --- |" * 9)
    with workplace() as place:
        for row in compare(place, rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
