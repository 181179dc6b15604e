"""Measure how the cost of a dump grows with the heap, threads, mappings, libraries, reservations.

    python tests/benchmarks/growth.py [--quick] [--size MiB] [--rounds N] [--output DIRECTORY]

Each point is a process of its own. Of each axis the first point has nothing of it: what the others
cost beyond that is fitted by a power of the number, and an exponent above `LINEAR` is worse than
linear, which is a defect. What adds less than a tenth to the cost is called flat. --size is the
step of the heap, whose last point has eight of them.
"""

import itertools
import math
import statistics
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from measured_service import Service
from measuring import MIB, bench_arguments, circumstances, introduced, save, table, workplace

COSTS = {"pause": ("ms", 1e3), "whole": ("s", 1), "size": ("MiB", 1 / MIB)}
LINEAR = 1.2
"""The largest exponent that is taken for linear: those of straight lines vary as much."""
NOTICED = 0.1
FIXED_HEAP = 64
LIBRARY = "int number(void) { return NUMBER; }\n"


class Axis(NamedTuple):
    """What grows, and how far."""

    name: str
    argument: str
    """What `measured_service.Inside` calls it."""
    points: tuple[int, ...]


class Fit(NamedTuple):
    """How one cost grows with one axis."""

    axis: str
    cost: str
    constant: float
    factor: float
    exponent: float | None
    """None: flat."""

    def verdict(self) -> str:
        """Return it in words."""
        if self.exponent is None:
            return "flat"
        return "linear or less" if self.exponent <= LINEAR else "**worse than linear**"

    def formula(self) -> str:
        """Return it as a formula of n."""
        unit, scale = COSTS[self.cost]
        constant = f"{self.constant * scale:.3g}"
        if self.exponent is None:
            return f"{constant} {unit}"
        return f"{constant} + {self.factor * scale:.3g} n^{self.exponent:.2f} {unit}"


def axes(options: Namespace) -> list[Axis]:
    """Return them, with the heaps for which there is memory."""
    steps = (0, 1, 2, 4, 8)
    far = {"threads": 64, "mappings": 2000, "libraries": 8, "reserved": 1024}
    if not options.quick:
        far = {"threads": 2000, "mappings": 60_000, "libraries": 500, "reserved": 8192}
    names = {"reserved": "reserved GiB"}
    heaps = [step * options.size for step in steps]
    heap = Axis("heap MiB", "mib", tuple(mib for mib in heaps if has_memory(mib)))
    others = [
        Axis(names.get(name, name), name, tuple(last * step // 8 for step in steps))
        for name, last in far.items()
    ]
    return [heap, *others]


def has_memory(mebibytes: int) -> bool:
    """Return whether the machine can hold such a heap: while it is made, some is there twice."""
    rows = Path("/proc/meminfo").read_text().splitlines()
    available = int(next(row.split()[1] for row in rows if row.startswith("MemAvailable")))
    return mebibytes * 1024 * 3 // 2 < available


def make_libraries(directory: Path, count: int) -> list[str]:
    """Compile so many shared libraries, each with a build ID of its own."""
    source = directory / "library.c"
    source.write_text(LIBRARY)
    flags = ["-shared", "-fPIC", "-Wl,--build-id"]
    paths = [directory / f"library{number}.so" for number in range(count)]
    for number, path in enumerate(paths):
        command = ["cc", *flags, f"-DNUMBER={number}", source, "-o", path]
        subprocess.run(command, check=True)
    return list(map(str, paths))


def measure(
    place: Path, axis: Axis, libraries: list[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield the least of each cost at each point: what else the machine does only adds to it."""
    for point in axis.points:
        value = libraries[:point] if axis.argument == "libraries" else point
        spec = {"mib": FIXED_HEAP if axis.argument != "mib" else 0, axis.argument: value}
        with Service(place, **spec) as service:
            dumps = [service.ask("dump") for _ in range(rounds + 1)][1:]
        yield {"n": point} | {cost: min(dump[cost] for dump in dumps) for cost in COSTS}


def fit(axis: str, cost: str, points: list[tuple[float, float]]) -> Fit:
    """Fit a power of n to what the points cost beyond the first, by logarithms."""
    (_, constant), *others = points
    beyond = [(n, value - constant) for n, value in others if value > constant * (1 + NOTICED)]
    if len(beyond) < 2:
        return Fit(axis, cost, constant, 0, None)
    logarithms = [(math.log(n), math.log(value)) for n, value in beyond]
    slope, intercept = statistics.linear_regression(*zip(*logarithms, strict=True))
    return Fit(axis, cost, constant, math.exp(intercept), slope)


def rows_of(axis: Axis, points: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield the lines of the table of points."""
    for point in points:
        costs = (f"{point[cost] * scale:.3g}" for cost, (_, scale) in COSTS.items())
        yield [axis.name, f"{point['n']:,}", *costs]


def main() -> None:
    """Measure each axis, fit each cost, and save both."""
    options = bench_arguments(__doc__)
    when, beginning = circumstances(), introduced(f"Growth, the least of {options.rounds}")
    measured: dict[Axis, list[dict[str, Any]]] = {}
    with workplace() as place:
        for axis in axes(options):
            libraries = make_libraries(place, axis.points[-1] * (axis.argument == "libraries"))
            measured[axis] = list(measure(place, axis, libraries, options.rounds))
    fits = [
        fit(axis.name, cost, [(point["n"], point[cost]) for point in points])
        for axis, points in measured.items()
        for cost in COSTS
    ]
    heads = [f"{cost} {unit}" for cost, (unit, _) in COSTS.items()]
    rows = itertools.chain.from_iterable(itertools.starmap(rows_of, measured.items()))
    fitted = ([one.axis, one.cost, one.formula(), one.verdict()] for one in fits)
    text = "\n".join(
        [
            beginning,
            table(["with", "cost", "fitted", "growth"], fitted),
            table(["with", "n", *heads], rows),
        ]
    )
    figures = {
        "circumstances": when,
        "axes": [{"name": axis.name, "points": points} for axis, points in measured.items()],
        "fits": [one._asdict() | {"verdict": one.verdict()} for one in fits],
    }
    save(options.output, "growth", figures, text)


if __name__ == "__main__":
    main()
