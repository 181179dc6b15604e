"""Measure what a service loses by a dump: throughput, regularity and memory.

    python tests/benchmarks/loss.py [--quick] [--size MiB] [--rounds N] [--output DIRECTORY]

The service has a thread that waits, reads its heap or writes to it, a little at a time. Throughput
and the longest gap between two such pieces of work are compared with those of as long a time
without a dump, in turns. Memory is the proportional share (PSS) of the service, its clone and its
recorder, minus the service's before; it is taken in a dump of its own, as looking costs time too.
Each with the recorder at the low priority that it gives itself, and held at the normal one.
"""

import contextlib
import functools
import itertools
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from measured_service import Service, beside
from measuring import (
    MIB,
    bench_arguments,
    circumstances,
    introduced,
    save,
    spread,
    table,
    workplace,
)

LOADS = ("idle", "reading", "writing")


class Loss(NamedTuple):
    """What one service has lost."""

    load: str
    priority: str
    """Of the recorder."""
    throughput: list[float]
    """In a dump, divided by that without."""
    gap: list[float]
    gap_without: list[float]
    pause: list[float]
    seconds: list[float]
    memory: int
    """The most bytes that all had more than the service before."""

    def cells(self) -> list[str]:
        """Return the row of the table."""
        gaps = (self.gap, self.gap_without, self.pause)
        lost = [1 - share for share in self.throughput]
        return [
            self.load,
            self.priority,
            spread(lost, 0.01, 1),
            *(spread(values, 1e-3, 2) for values in gaps),
            spread(self.seconds, 1, 2),
            f"{self.memory / MIB:.0f}",
        ]


def at_normal_priority(service: Service) -> None:
    """Undo what a recorder has done to its priority: that of its threads, and of its session."""
    for recorder in service.recorders():
        for tid in os.listdir(f"/proc/{recorder}/task"):
            os.setpriority(os.PRIO_PROCESS, int(tid), 0)
        Path(f"/proc/{recorder}/autogroup").write_bytes(b"0")  # not there in each kernel


def as_it_is(service: Service) -> None:
    """Leave its priority alone."""


def priorities() -> dict[str, Callable[[Service], None]]:
    """Return what to do for each: the normal one, if this process may raise a priority."""
    raised = "import os; os.nice(1); os.setpriority(os.PRIO_PROCESS, 0, 0)"
    may = subprocess.run([sys.executable, "-c", raised], check=False, capture_output=True)
    if may.returncode:
        print("no recorder at normal priority: that takes CAP_SYS_NICE", file=sys.stderr)
        return {"low": as_it_is}
    return {"low": as_it_is, "normal": at_normal_priority}


def proportional_share(pids: list[int]) -> int:
    """Return the bytes of memory that these processes have, each page once."""
    return sum(map(_share_of, pids))


def _share_of(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) * 1024
    return 0


def extra_memory(service: Service, hold: Callable[[], None]) -> int:
    """Return the most that a dump takes, beyond what the service had."""
    before, seen = proportional_share([service.pid]), [0]
    with beside(hold), beside(lambda: seen.append(proportional_share(service.processes())), 0.05):
        service.ask("loaded")
    return max(seen) - before


def measure(place: Path, options: Namespace) -> Iterator[Loss]:
    """Yield what each service loses."""
    wanted = priorities()
    for load in LOADS:
        with Service(place, mib=options.size, load=load) as service:
            service.ask("loaded")
            holds = {name: functools.partial(hold, service) for name, hold in wanted.items()}
            taken: dict[str, list[dict[str, Any]]] = {name: [] for name in holds}
            for _, name in itertools.product(range(options.rounds), holds):
                with beside(holds[name]):
                    taken[name].append(service.ask("loaded"))
            for name, rounds in taken.items():
                yield loss(load, name, rounds, extra_memory(service, holds[name]))


def loss(load: str, priority: str, rounds: list[dict[str, Any]], memory: int) -> Loss:
    """Return what some dumps have cost together."""
    return Loss(
        load,
        priority,
        [one["dump"]["rate"] / one["none"]["rate"] for one in rounds],
        [one["dump"]["gap"] for one in rounds],
        [one["none"]["gap"] for one in rounds],
        [one["pause"] for one in rounds],
        [one["seconds"] for one in rounds],
        memory,
    )


def main() -> None:
    """Measure each service, and save what it has lost."""
    options = bench_arguments(__doc__)
    title = f"What a service of {options.size} MiB loses, median (range) of {options.rounds}"
    when, beginning = circumstances(), introduced(title)
    with workplace() as place:
        losses = list(measure(place, options))
    head = [
        "service",
        "recorder's priority",
        "throughput lost %",
        "longest gap ms",
        "without a dump ms",
        "pause ms",
        "whole dump s",
        "more memory MiB",
    ]
    figures = {
        "circumstances": when,
        "size_mib": options.size,
        "losses": [one._asdict() for one in losses],
    }
    text = f"{beginning}\n{table(head, (one.cells() for one in losses))}"
    save(options.output, "loss", figures, text)


if __name__ == "__main__":
    main()
