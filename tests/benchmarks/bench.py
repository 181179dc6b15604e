"""Measure what has a target, each in turns with what the machine itself could do, in one run.

    python tests/benchmarks/bench.py [--quick] [--size MiB] [--rounds N] [--output DIRECTORY]

Each row is yielded by one of the functions in `MEASUREMENTS`. A target is at most so many times
the median of the limit, plus a margin. `make bench` runs this, growth.py, loss.py and plots.py;
docs/explanation/performance.md says what the rows and the fields of bench.json mean.
"""

import functools
import hashlib
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from isal import igzip_threaded
from least_program import least
from measured_service import HEAPS, Service, beside
from measuring import (
    MIB,
    bench_arguments,
    circumstances,
    emptied,
    get_memory,
    interleaved,
    introduced,
    save,
    spread,
    table,
    verdict,
    workplace,
)
from pipe_rate import plain_copy

UNITS = {"ms": (1e-3, 2), "s": (1, 3), "MiB": (MIB, 1)}
LEVEL, THREADS = 2, 2
REACHED = 0.95
GENCORE = Path(sysconfig.get_path("scripts")) / "gencore"


class Row(NamedTuple):
    """What was measured of one thing, in seconds or bytes."""

    what: str
    against: str
    unit: str
    ours: list[float]
    limit: list[float]
    """Of the machine; empty if nothing of it is like this."""
    factor: float = 0
    margin: float = 0
    """The target: at most *factor* times the median of *limit*, plus this."""
    or_limit: bool = False
    """Whether the limit itself is enough, to 95 %: nothing can do with less."""

    def allowed(self) -> float:
        """Return what the median may be."""
        limit = statistics.median(self.limit) if self.limit else 0
        target = self.margin + self.factor * limit
        return max(target, limit / REACHED) if self.or_limit else target

    def met(self) -> bool:
        """Return whether it is not more."""
        return statistics.median(self.ours) <= self.allowed()

    def target(self) -> str:
        """Return it in words."""
        margin = self._shown([self.margin]).partition(" ")[0] + f" {self.unit}"
        parts = [f"{self.factor:.2f} x"] * bool(self.factor) + [margin] * bool(self.margin)
        return " + ".join(parts) + " or the limit" * self.or_limit

    def cells(self) -> list[str]:
        """Return the row of the table."""
        ratio = (
            statistics.median(self.ours) / statistics.median(self.limit) if self.limit else None
        )
        return [
            self.what,
            self.against,
            f"{self._shown(self.ours)} {self.unit}",
            f"{self._shown(self.limit)} {self.unit}" if self.limit else "",
            f"{ratio:.2f}" if ratio is not None else "",
            self.target(),
            verdict(met=self.met()),
        ]

    def _shown(self, values: list[float]) -> str:
        return spread(values, *UNITS[self.unit])


class Rate(NamedTuple):
    """How fast the machine is at one thing."""

    what: str
    gigabytes_per_second: float


class Taken:
    """What several calls of one function have taken, each with its own figure."""

    def __init__(self, service: Service, kind: str = "bundle") -> None:
        self._service, self._kind = service, kind
        self.dumps: list[dict[str, Any]] = []

    def dump(self, figure: str) -> float:
        """Make a dump; return one of its figures."""
        self.dumps.append(self._service.ask("dump", self._kind))
        return self.dumps[-1][figure]

    def each(self, value: Callable[[dict[str, Any]], float]) -> list[float]:
        """Return a figure of each dump but the first, which warms up."""
        return [value(dump) for dump in self.dumps[1:]]


def pauses(place: Path, options: Namespace) -> Iterator[Row]:
    """The pause against a bare clone, and what the call takes beside it."""
    for heap in HEAPS:
        with Service(place, heap=heap, mib=options.size) as service:
            taken = Taken(service)
            ours, bare = interleaved(
                lambda taken=taken: taken.dump("pause"),
                lambda service=service: service.ask("bare_clone"),
                options.rounds,
            )
        yield Row(f"pause, {heap}", "bare clone", "ms", ours, bare, 1.05, 0.54e-3)
        beyond = taken.each(lambda dump: dump["call"] - dump["pause"])
        yield Row(f"start() beyond the pause, {heap}", "", "ms", beyond, [], margin=2e-3)


def bundles(place: Path, options: Namespace) -> Iterator[Row]:
    """The bundle against the compressor's own speed on the bytes of a core."""
    for heap, share in (("objects and text", 0.70), ("half random", 0.50)):
        with Service(place, heap=heap, mib=options.size, standby=True) as service:
            core = place / "core"
            Path(service.ask("dump", "raw")["path"]).rename(core)
            taken = Taken(service)
            whole = functools.partial(taken.dump, "whole")
            before = functools.partial(get_memory, 2 * options.size)
            compressor = functools.partial(compress, core)
            ours, theirs = interleaved(whole, compressor, options.rounds, before)
            yield Row(f"bundle, {heap}", "isal on the core", "s", ours, theirs, 1 / share)
            bundle = Path(taken.dumps[-1]["path"]).read_bytes()
            alone = functools.partial(least, core, bundle, place / "copies")
            ours, theirs = interleaved(whole, alone, options.rounds, before)
            core.unlink()
        yield Row(f"bundle, {heap}", "the least program", "s", ours, theirs, 1 / REACHED)


def raw_cores(place: Path, options: Namespace) -> Iterator[Row]:
    """The core as a file against the kernel's own dump, and against writing its bytes."""
    with Service(place, mib=options.size, standby=True) as service:
        taken = Taken(service, "raw")
        whole = functools.partial(taken.dump, "whole")
        before = functools.partial(get_memory, 2 * options.size)
        if service.ask("kernels_core") is not None:  # kernel.core_pattern leaves it there
            kernel = functools.partial(service.ask, "kernels_core")
            ours, kernels = interleaved(whole, kernel, options.rounds, before)
            yield Row("raw core", "the kernel's own dump", "s", ours, kernels, 0.5)
        core = place / "core"
        Path(service.ask("dump", "raw")["path"]).rename(core)
        copy = functools.partial(write, core, place / "copies")
        ours, written = interleaved(whole, copy, options.rounds, before)
        core.unlink()
    yield Row("raw core", "writing the same bytes", "s", ours, written, 1.15)


def recorders(place: Path, options: Namespace) -> Iterator[Row]:
    """The memory of a recorder, and the bytes that a dump writes on its way to the bundle."""
    memory: list[float] = []
    written: list[float] = []
    sizes: list[float] = []
    with Service(place, mib=options.size) as service:
        service.ask("dump")
        for _ in range(options.rounds):
            memory.append(recorders_growth(service))
            before = service.written()
            sizes.append(service.ask("dump")["size"])
            written.append(service.written() - before)
    yield Row("recorder's memory above its start", "", "MiB", memory, [], margin=64 * MIB)
    yield Row("bytes written on the way", "the bundle", "MiB", written, sizes, 1, MIB)


def recorders_growth(service: Service) -> float:
    """Return by how much a recorder grows once it has loaded everything and has its capture."""
    seen: list[tuple[float, int, int]] = []

    def look() -> None:
        for pid in service.recorders():
            sizes = memory_of(pid, "VmRSS"), memory_of(pid, "VmHWM")
            seen.append((time.perf_counter(), *sizes))

    with beside(look):
        captured = service.ask("first_dump")["captured"]
    after = [sizes for moment, *sizes in seen if moment >= captured]
    if not after:
        raise SystemExit("the dump was over before its recorder was seen: take a larger heap")
    return max(highest for _, highest in after) - after[0][0]


def memory_of(pid: int, field: str) -> int:
    """Return a field of /proc/PID/status, in bytes. Raises KeyError for a zombie."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(dict(row.split(":", 1) for row in rows)[field].split()[0]) * 1024


def loop_gaps(place: Path, options: Namespace) -> Iterator[Row]:
    """The longest gap of an event loop beyond the pause, beside busy threads and alone."""
    with Service(place, mib=options.size) as service:
        for busy in (0, 4):
            service.ask("loop_gap", busy)
            gaps = [service.ask("loop_gap", busy) for _ in range(options.rounds)]
            yield Row(
                f"longest gap of an event loop beyond the pause, {busy} busy threads",
                "without a dump",
                "ms",
                [gap["dump"] - gap["pause"] for gap in gaps],
                [gap["none"] for gap in gaps],
                margin=3e-3,
                or_limit=True,
            )


def commands(place: Path, options: Namespace) -> Iterator[Row]:
    """What the commands take, from their start to their end."""
    empty = functools.partial(run, [sys.executable, "-I", "-c", "pass"])
    ours, theirs = interleaved(
        functools.partial(run, [GENCORE, "--version"]), empty, options.rounds
    )
    yield Row("gencore --version", "python -c pass", "ms", ours, theirs, margin=0.1)
    with Service(place) as service:
        cores = place / "from outside"

        def dump() -> float:
            return run([GENCORE, "dump", str(service.pid), "-o", emptied(cores)])

        ours, theirs = interleaved(dump, empty, options.rounds)
    yield Row("gencore dump of a small process", "python -c pass", "ms", ours, theirs, margin=0.5)


MEASUREMENTS = (pauses, bundles, raw_cores, recorders, loop_gaps, commands)


def run(command: list[Any]) -> float:
    """Return the seconds of a command."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def compress(core: Path) -> float:
    """Return the seconds that isal takes for a file that is in the page cache."""
    begin = time.perf_counter()
    with (
        core.open("rb", buffering=0) as reader,
        igzip_threaded.open(os.devnull, "wb", compresslevel=LEVEL, threads=THREADS) as packed,
    ):
        buffer = memoryview(bytearray(MIB))
        while length := reader.readinto(buffer):
            packed.write(buffer[:length])
    return time.perf_counter() - begin


def write(core: Path, directory: Path) -> float:
    """Return the seconds to write the bytes of a core again, without its holes, to the disk."""
    emptied(directory)
    begin = time.perf_counter()
    with core.open("rb", buffering=0) as reader, (directory / "copy").open("wb", 0) as copy:
        for start, end in data_of(reader.fileno()):
            reader.seek(start)
            copy.seek(start)
            while (length := end - reader.tell()) > 0:
                copy.write(reader.read(min(length, MIB)))
        os.fsync(copy.fileno())
    seconds = time.perf_counter() - begin
    emptied(directory)
    return seconds


def data_of(fd: int) -> Iterator[tuple[int, int]]:
    """Yield the beginning and the end of each part of a file that is no hole."""
    size, end = os.fstat(fd).st_size, 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole follows
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def machine_rates(place: Path, options: Namespace) -> Iterator[Rate]:
    """What the machine can do with the bytes of a heap that is half random."""
    ballast = HEAPS["half random"](options.size)
    size = sum(map(len, ballast))
    file = place / "heap"
    file.write_bytes(b"".join(ballast))
    tasks: dict[str, Callable[[], float]] = {
        "copying memory": lambda: timed(lambda: [bytes(block) for block in ballast]),
        "a pipe, write(2) and read(2)": lambda: plain_copy(ballast) * size,
        "SHA-256, one thread": lambda: timed(lambda: list(map(hashlib.sha256, ballast))),
        f"isal, level {LEVEL}, {THREADS} threads": lambda: compress(file),
        "writing, with fsync": lambda: write(file, place / "copies"),
    }
    for what, task in tasks.items():
        best = min(task() for _ in range(options.rounds))
        yield Rate(what, round(size / best / 1e9, 2))


def timed(task: Callable[[], object]) -> float:
    """Return its seconds."""
    begin = time.perf_counter()
    task()
    return time.perf_counter() - begin


def main() -> None:
    """Measure everything, and save it."""
    options = bench_arguments(__doc__)
    title = f"A dump of {options.size} MiB, median (range) of {options.rounds}"
    when, beginning = circumstances(), introduced(title)
    with workplace() as place:
        rates = list(machine_rates(place, options))
        rows = [row for measure in MEASUREMENTS for row in measure(place, options)]
    head = ["what", "limit", "gencore's", "the limit's", "ratio", "at most", "target"]
    text = "\n".join(
        [
            beginning,
            table(head, (row.cells() for row in rows)),
            table(["this machine", "GB/s"], iter(rates)),
        ]
    )
    figures = {
        "circumstances": when,
        "size_mib": options.size,
        "rows": [row._asdict() | {"allowed": row.allowed(), "met": row.met()} for row in rows],
        "rates": [rate._asdict() for rate in rates],
    }
    save(options.output, "bench", figures, text)


if __name__ == "__main__":
    main()
