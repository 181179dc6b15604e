"""Measure 64 dumps in a row, eight processes at once, and a heap of three fifths of the memory.

    python tests/benchmarks/extremes.py [--quick] [--size MiB] [--rounds N] [--output DIRECTORY]

Each row is yielded by one of the functions in `MEASUREMENTS`, and compares a figure with what the
same costs once, alone or in a small process. Every dump has to be complete, or the run ends.
"""

import contextlib
import os
import statistics
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import memory_of, recorders_growth
from measured_service import Service
from measuring import MIB, bench_arguments, circumstances, introduced, save, table, workplace

IN_A_ROW, AT_ONCE = 64, 8
SHARE = 0.6
"""Of the machine's memory: a heap beside which the page cache still has room."""
HALF = IN_A_ROW // 2


class Row(NamedTuple):
    """A figure, and what it is compared with."""

    what: str
    ours: float
    against: str
    theirs: float
    unit: str

    def cells(self) -> list[str]:
        """Return the row of the table."""
        figures = [f"{value:.3g} {self.unit}" for value in (self.ours, self.theirs)]
        ratio = f"{self.ours / self.theirs:.2f}" if self.theirs else ""
        return [self.what, figures[0], self.against, figures[1], ratio]


def in_a_row(place: Path, options: Namespace) -> Iterator[Row]:
    """Many dumps of one process: whether they get slower, and what they leave in it."""
    with Service(place, heap="objects and text", mib=options.size // 4) as service:
        service.ask("dump")
        before = held(service.pid)
        turns = [(service.ask("dump"), service.ask("bare_clone")) for _ in range(IN_A_ROW)]
        after = held(service.pid)
    first, last = f"the first {HALF}", f"the last {HALF} of {IN_A_ROW} dumps"
    costs = (
        ("whole", "s", [dump["whole"] for dump, _ in turns]),
        ("pause", "bare clones", [dump["pause"] / clone for dump, clone in turns]),
    )
    for cost, unit, values in costs:
        medians = statistics.median(values[-HALF:]), statistics.median(values[:HALF])
        yield Row(f"{cost}, {last}", medians[0], first, medians[1], unit)
    for what, (unit, scale) in {"memory": ("MiB", MIB), "descriptors": ("", 1)}.items():
        yield Row(
            f"{what} of the process after {IN_A_ROW} dumps",
            after[what] / scale,
            "before",
            before[what] / scale,
            unit,
        )


def held(pid: int) -> dict[str, int]:
    """Return what a process has."""
    return {
        "memory": memory_of(pid, "VmRSS"),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
    }


def at_once(place: Path, options: Namespace) -> Iterator[Row]:
    """Several processes that are dumped at the same time, against as many dumps one by one."""
    with contextlib.ExitStack() as stack:
        services = []
        for number in range(AT_ONCE):
            own = place / str(number)
            own.mkdir()
            spec = {"heap": "objects and text", "mib": options.size // 4}
            services.append(stack.enter_context(Service(own, **spec)))
        for service in services:
            service.ask("dump")
        alone = [service.ask("dump") for service in services]
        begin = time.perf_counter()
        for service in services:
            service.tell("dump")
        together = [service.answer() for service in services]
        seconds = time.perf_counter() - begin
    whole = sum(dump["whole"] for dump in alone)
    yield Row(f"{AT_ONCE} processes dumped at once", seconds, "one by one", whole, "s")
    pauses = [
        statistics.median(dump["pause"] * 1e3 for dump in dumps) for dumps in (together, alone)
    ]
    yield Row("median pause meanwhile", pauses[0], "alone", pauses[1], "ms")


def large(place: Path, options: Namespace) -> Iterator[Row]:
    """A heap of most of the memory, for each GiB against one of --size."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    largest = 2 * options.size if options.quick else int(total * SHARE / MIB)
    costs: list[dict[str, float]] = []
    for size in (largest, options.size):
        with Service(place, mib=size) as service:
            service.ask("dump")
            dumps = [service.ask("dump") for _ in range(options.rounds)]
            clones = [service.ask("bare_clone") for _ in range(options.rounds)]
            costs.append(
                {
                    "whole": statistics.median(dump["whole"] for dump in dumps),
                    "pause": statistics.median(dump["pause"] for dump in dumps) * 1e3,
                    "clone": statistics.median(clones) * 1e3,
                    "memory": recorders_growth(service) / MIB,
                    "GiB": size / 1024,
                }
            )
    most, one = costs
    heap = f"a heap of {most['GiB']:.1f} GiB"
    per = [cost["whole"] / cost["GiB"] for cost in costs]
    yield Row(f"whole dump per GiB, {heap}", per[0], f"of {one['GiB']:.1f} GiB", per[1], "s")
    yield Row(f"pause, {heap}", most["pause"], "bare clone", most["clone"], "ms")
    against = f"with {one['GiB']:.1f} GiB"
    yield Row(f"recorder's growth, {heap}", most["memory"], against, one["memory"], "MiB")


MEASUREMENTS = (in_a_row, at_once, large)


def main() -> None:
    """Measure everything, and save it."""
    options = bench_arguments(__doc__)
    when, beginning = circumstances(), introduced("Many dumps, and a large one")
    with workplace() as place:
        rows = [row for measure in MEASUREMENTS for row in measure(place, options)]
    head = ["what", "gencore's", "against", "that one's", "ratio"]
    text = "\n".join([beginning, table(head, (row.cells() for row in rows))])
    figures = {"circumstances": when, "rows": [row._asdict() for row in rows]}
    save(options.output, "extremes", figures, text)


if __name__ == "__main__":
    main()
