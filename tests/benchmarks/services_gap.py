"""What the clients of a service notice of dumps from outside, and how soon a core is there.

    python tests/benchmarks/services_gap.py [--rounds N] [SERVICE...]

Each service runs as its users run it, a client asks it all the time, and another process dumps all
of the service's processes in turn. In each round there is a time with a dump, one in which a
bystander is dumped instead, and one without any dump; of each the longest gap between two answers
is taken. The bystander shows what the work of the dumping process costs, for which there may be no
CPU to spare. Target: the median with a dump exceeds that with a bystander's by at most the pause
and 10 ms.

Then: the time from the request to the last byte of the core, of a process that is idle, of one
with 16 spinning threads, and of one whose GIL is held for ever, in turn. Target: at most twice
that of the idle one. Prints JSON.
"""

import argparse
import contextlib
import datetime as dt
import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

sys.path.append(str(Path(__file__).parents[1] / "system" / "programs"))

from measuring import workplace
from running_services import COMMANDS, Load, Service, wait_for  # of the line above

import gencore
from gencore.events import StageFinished

ALLOWED_MS = 10
FACTOR = 2
SPIN = """
import threading
def spin():
    while True:
        pass
for _ in range(16):
    threading.Thread(target=spin).start()
"""
STUCK = {
    "idle": "import time; time.sleep(10**6)",
    "16 spinning threads": SPIN,
    "GIL held for ever": "import re; re.match('(a|a?)+$', 'a' * 40 + 'b')",
}
BEGINS = "import os; print(os.getpid(), flush=True)\n"


class Requester:
    """A process that dumps others when it is asked; everything is loaded beforehand."""

    def __init__(self, pids: list[int]) -> None:
        command = [sys.executable, __file__, "--requester", *map(str, pids)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._process.stdout.readline()

    def dump(self, pid: int) -> dict[str, float]:
        """Return, in ms, the pause and the time until the last byte."""
        self._process.stdin.write(f"{pid}\n")
        self._process.stdin.flush()
        row: dict[str, float] = json.loads(self._process.stdout.readline())
        return row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def be_requester(pids: list[str]) -> None:
    """Dump the process that each line names, without keeping the core."""
    finished: list[float] = []

    def note(event: object) -> None:
        if isinstance(event, StageFinished) and event.stage == "core":
            finished.append(time.monotonic())

    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a file that is written to
        to_nothing = gencore.DestinationSpec("descriptor", options={"file": nothing})
        pipelines = {
            pid: gencore.Pipeline(
                target=int(pid), collectors=["raw"], destination=to_nothing, on_event=note
            )
            for pid in pids
        }
        for pipeline in pipelines.values():
            pipeline.run()
        print(flush=True)
        for line in sys.stdin:
            finished.clear()
            begun = time.monotonic()
            report = pipelines[line.strip()].run()
            if report.result != "complete":
                sys.exit(f"process {line.strip()}: {report.problems}")
            row = {"pause": report.pause.total, "last_byte": finished[0] - begun}
            print(json.dumps({key: 1e3 * value for key, value in row.items()}), flush=True)


def longest_gap(times: list[float], begin: float, end: float) -> float:
    """Return the longest time between answers of which a part is between *begin* and *end*."""
    pairs = itertools.pairwise(times)
    return max(later - earlier for earlier, later in pairs if later > begin and earlier < end)


def gaps_of(command: str, directory: Path, rounds: int) -> dict[str, Any]:
    """Measure one service."""
    with contextlib.closing(Service(command, directory)) as service:
        wait_for(service.answers)
        armed = service.armed
        rows = []
        with bystander() as other, Requester([*armed, other]) as requester, Load(service) as load:
            for pid in itertools.islice(itertools.cycle(armed), rounds):
                pauses: list[float] = []
                ways = {
                    "dump": lambda pid=pid, pauses=pauses: pauses.append(
                        requester.dump(pid)["pause"]
                    ),
                    "bystander": lambda: requester.dump(other),
                    "none": lambda: time.sleep(1),
                }
                gaps = [gap_during(way, load) for way in ways.values()]
                rows.append((*gaps, *pauses))
    columns = dict(
        zip(("dump", "bystander", "none", "pause"), zip(*rows, strict=True), strict=True)
    )
    medians = {name: statistics.median(column) for name, column in columns.items()}
    print(f"{command}: {medians}", file=sys.stderr)
    return {
        "answers": len(load.times) - 1,
        "dumps": len(rows),
        "median_ms": {name: round(value, 2) for name, value in medians.items()},
        "longest_ms": {name: round(max(column), 2) for name, column in columns.items()},
        "met": medians["dump"] - medians["bystander"] <= medians["pause"] + ALLOWED_MS,
    }


def gap_during(action: Callable[[], object], load: Load) -> float:
    """Return the longest gap between answers while something is done, in ms."""
    load.wait_for_another()
    begin = time.monotonic()
    action()
    end = time.monotonic()
    load.wait_for_another()
    return 1e3 * longest_gap(load.times, begin, end)


@contextlib.contextmanager
def bystander() -> Iterator[int]:
    """Run an armed process that does nothing, and yield its process ID."""
    with started(BEGINS + STUCK["idle"]) as process:
        yield int(process.stdout.readline())


@contextlib.contextmanager
def started(code: str) -> Iterator["subprocess.Popen[str]"]:
    """Run an armed Python program, and kill it at the end."""
    command = [sys.executable, "-c", code]
    armed = {**os.environ, "GENCORE_ARM": "1"}
    with subprocess.Popen(command, env=armed, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def rounded(values: list[float]) -> list[float]:
    """Return them to two digits."""
    return [round(value, 2) for value in values]


def last_bytes(rounds: int) -> dict[str, Any]:
    """Measure the processes of `STUCK`, in turn."""
    times: dict[str, list[float]] = {name: [] for name in STUCK}
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(started(BEGINS + code)) for name, code in STUCK.items()
        }
        pids = {name: int(p.stdout.readline()) for name, p in processes.items()}
        requester = stack.enter_context(Requester(list(pids.values())))
        for name in itertools.islice(itertools.cycle(pids), rounds * len(pids)):
            times[name].append(requester.dump(pids[name])["last_byte"])
    medians = {name: statistics.median(rows) for name, rows in times.items()}
    return {
        name: {
            "last_byte_ms": round(median, 1),
            "lowest_and_highest_ms": rounded([min(times[name]), max(times[name])]),
            "met": median <= FACTOR * medians["idle"],
        }
        for name, median in medians.items()
    }


def main() -> None:
    """Measure, print, and exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=", ".join(COMMANDS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requester", nargs="+", metavar="PID", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.requester:
        be_requester(given.requester)
        return
    with workplace() as directory:
        gaps = {
            kind: gaps_of(COMMANDS[kind], directory / str(number), given.rounds)
            for number, kind in enumerate(given.services or COMMANDS)
        }
    bytes_of = last_bytes(given.rounds)
    shown = {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} CPUs, {os.uname().machine}, Linux {os.uname().release}",
        "load": round(os.getloadavg()[0], 1),
        "python": sys.version.split()[0],
        "command": f"python {shlex.join(sys.argv)}",
        "gaps": gaps,
        "last_byte": bytes_of,
    }
    print(json.dumps(shown, indent=1))
    sys.exit(not all(row["met"] for row in (*gaps.values(), *bytes_of.values())))


if __name__ == "__main__":
    main()
