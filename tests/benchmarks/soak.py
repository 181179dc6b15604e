"""Dump a service under load many times, and check after each dump that nothing has changed.

    python tests/benchmarks/soak.py [--dumps N]

The load is soak_load.c: threads that transfer checked patterns, sleep, poll, start and end, fork
workers, and take 1,000 queued real-time signals a second. Prints one JSON object; "violations"
says what was not as it should be and how often, "incomplete" why dumps were not complete. Ends
with 1 if there are violations.
"""

import argparse
import collections
import contextlib
import ctypes
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import workplace

import gencore
from gencore.request import Content

SOURCE = Path(__file__).with_name("soak_load.c")
PR_GET_DUMPABLE = 3
SETTLE_S = 20
GROWTH_MIB = 48
NEVER = ("wrong", "eintr", "cut", "garbled", "early_or_late")


COUNTED = (
    *("sent", "taken", "handled", "woken", "wrong", "eintr", "cut", "garbled", "early_or_late"),
    *("transfers", "waits", "threads", "forks", "stop"),
)


class Counts(ctypes.Structure):
    """struct counts of soak_load.c."""

    _fields_ = [(name, ctypes.c_int) for name in COUNTED]

    def as_dict(self) -> dict[str, int]:
        """Return what was counted."""
        return {name: getattr(self, name) for name, _ in self._fields_ if name != "stop"}


@contextlib.contextmanager
def load(directory: Path) -> Iterator[Counts]:
    """Put this process under load meanwhile."""
    library = directory / "load.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", SOURCE]
    subprocess.run([*command, "-o", library, "-lpthread"], check=True)
    functions = ctypes.CDLL(str(library))
    functions.soak_begin.restype = ctypes.POINTER(Counts)
    sender = ctypes.c_int()
    counts = functions.soak_begin(ctypes.byref(sender)).contents
    try:
        yield counts
    finally:
        functions.soak_end(sender)


def signal_sets() -> list[str]:
    """Return this thread's mask, and which signals the process ignores and handles."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]


def descriptors() -> list[tuple[int, str]]:
    """Return what is open, but for what is only open to look at it."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append((int(name), os.readlink(f"/proc/self/fd/{name}")))
    return sorted(entry for entry in found if "/proc/" not in entry[1])


def children() -> set[int]:
    """Return the ids of this process's children."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, path.read_text().split()))
    return found


def thread_ids() -> set[int]:
    """Return the ids of this process's threads."""
    return {int(name) for name in os.listdir("/proc/self/task")}


def state(directory: Path) -> dict[str, object]:
    """Return everything of the process that a dump must leave as it was."""
    return {
        "cwd": Path.cwd(),
        "limits": [resource.getrlimit(which) for which in range(16)],
        "signals": signal_sets(),
        "python_handlers": [signal.getsignal(number) for number in signal.valid_signals()],
        "dumpable": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE),
        "umask": next(
            x for x in Path("/proc/self/status").read_text().splitlines() if "Umask" in x
        ),
        "files": sorted(path.name for path in directory.iterdir()),
        "threads": thread_ids(),
        "children": children(),
        "descriptors": descriptors(),
    }


def quiet_state(directory: Path) -> dict[str, object]:
    """Return the state at a moment without a thread, child or descriptor that soon ends."""
    states = [state(directory) for _ in range(200)]
    return min(states, key=lambda one: [len(one[name]) for name in ("threads", "children")])  # type: ignore[arg-type]


def settled(look: Callable[[], dict[str, object]], before: dict[str, object]) -> set[str]:
    """Return what differs still when the load has had time to end what it does for a moment."""
    end = time.monotonic() + SETTLE_S
    while True:
        now = look()
        differs = {name for name in before if now[name] != before[name]}
        if not differs or time.monotonic() > end:
            return differs
        time.sleep(0.001)


def resident_mib() -> float:
    """Return how much memory of this process is resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


class Soak:
    """Dumps, and what was seen of them."""

    def __init__(self, directory: Path, counts: Counts) -> None:
        self._directory = directory
        self._counts = counts
        self.violations: collections.Counter[str] = collections.Counter()
        self.incomplete: collections.Counter[str] = collections.Counter()
        self.registers: collections.Counter[str] = collections.Counter()
        self.pauses: list[float] = []

    def dump(self, number: int) -> None:
        """Make one dump; every tenth has all memory, every fiftieth is a bundle."""
        collectors = ("manifest", "archive") if number % 50 == 49 else ("raw",)
        content: Content = "full" if number % 10 == 9 else "stacks"
        there = thread_ids()
        before = self._counts.sent
        report = self._pipeline(collectors, content).run()
        self._look_at(report, there & thread_ids())
        for artifact in report.artifacts:
            if artifact.path:
                artifact.path.unlink()
        self._await_signals(before)

    @functools.cache  # noqa: B019 -- there is one Soak
    def _pipeline(self, collectors: tuple[str, ...], content: Content) -> gencore.Pipeline:
        return gencore.Pipeline(directory=self._directory, collectors=collectors, content=content)

    def _look_at(self, report: gencore.Report, lasts: set[int]) -> None:
        self.pauses.append(report.pause.total)
        self.registers.update(thread.registers for thread in report.threads)
        if not lasts <= {thread.tid for thread in report.threads}:
            self.violations["a thread is not listed"] += 1
        if report.result != "complete":
            reasons = [f"{row.part}: {row.reason}" for row in report.problems]
            self.incomplete["; ".join(reasons)] += 1
            if not reasons:
                self.violations["incomplete without a reason"] += 1

    def _await_signals(self, sent: int) -> None:
        end = time.monotonic() + SETTLE_S
        while min(self._counts.taken, self._counts.handled) < sent:
            if time.monotonic() > end:
                self.violations["a signal is lost"] += 1
                return
            time.sleep(0.001)

    def check(self, before: dict[str, object]) -> None:
        """Compare the process with what it was."""
        for name in settled(lambda: state(self._directory), before):
            self.violations[f"{name} changed"] += 1


def soak(dumps: int) -> dict[str, object]:
    """Return the figures of that many dumps."""
    with workplace() as place:
        directory = place / "dumps"
        directory.mkdir()
        with load(place) as counts:
            seen = Soak(directory, counts)
            seen.dump(9)  # what is imported and started once
            seen.dump(49)
            seen.pauses.clear()
            before = quiet_state(directory)
            begin, resident = time.monotonic(), resident_mib()
            for number in range(dumps):
                if number % 100 == 0:
                    print(f"{number} of {dumps}", file=sys.stderr)
                seen.dump(number)
                seen.check(before)
            seconds, grown = time.monotonic() - begin, resident_mib() - resident
        for name in NEVER:
            if getattr(counts, name):
                seen.violations[name] = getattr(counts, name)
        if not counts.sent == counts.taken == counts.handled:
            seen.violations["signals lost in the end"] += 1
        if grown > GROWTH_MIB:
            seen.violations["resident memory grows"] += 1
        return {
            "dumps": dumps,
            "seconds": round(seconds, 1),
            "violations": dict(seen.violations),
            "incomplete": dict(seen.incomplete),
            "registers": dict(seen.registers),
            "pause_ms": {
                "median": round(sorted(seen.pauses)[dumps // 2] * 1e3, 2),
                "longest": round(max(seen.pauses) * 1e3, 2),
            },
            "resident_mib": {"begin": round(resident, 1), "grown": round(grown, 1)},
            "load": counts.as_dict(),
        }


def main() -> None:
    """Soak, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dumps", type=int, default=2000)
    figures = soak(parser.parse_args().dumps)
    print(json.dumps(figures, indent=2))
    sys.exit(bool(figures["violations"]))


if __name__ == "__main__":
    main()
