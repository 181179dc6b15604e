"""Compare ``import gencore`` with ``import attrs``, each in fresh interpreters.

    python tests/benchmarks/import_time.py [--rounds N]

The time is taken inside the interpreter, around the import, with byte code cached. The third row
is the first use of a public name, which loads what the lazy import leaves out.
Target: ``import gencore`` takes at most 15 ms longer than ``import attrs``.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import introduce, spread, verdict, workplace

MARGIN = 15e-3
STATEMENTS = ("import attrs", "import gencore", "from gencore import Pipeline")


def measure(statement: str, cache: Path) -> float:
    """Return the seconds that *statement* takes in a new interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    code = (
        "import time; begin = time.perf_counter()\n"
        f"{statement}\n"
        "print(time.perf_counter() - begin)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print one row for each statement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    introduce(f"Import time, median (range) of {arguments.rounds}")
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    with workplace() as directory:
        for statement in STATEMENTS:  # fills the cache
            measure(statement, directory)
        for _ in range(arguments.rounds):
            for statement in STATEMENTS:
                times[statement].append(measure(statement, directory))
    base = statistics.median(times["import attrs"])
    print("| statement | ms | more than attrs, ms | target |")
    print("|---|---|---|---|")
    for statement, taken in times.items():
        more = statistics.median(taken) - base
        met = verdict(met=more <= MARGIN) if statement == "import gencore" else "-"
        print(f"| `{statement}` | {spread(taken, 1e-3, 1)} | {more * 1e3:+.1f} | {met} |")


if __name__ == "__main__":
    main()
