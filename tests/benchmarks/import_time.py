"""Compare ``import gencore`` with ``import attrs``, and time commands, each in a new interpreter.

    python tests/benchmarks/import_time.py [--rounds N]

The time is taken inside the interpreter, around the import, with byte code cached. The rows after
the second are the first use of a public name, which loads what the lazy import leaves out.
Target: ``import gencore`` takes at most 15 ms longer than ``import attrs``.

The second table is of whole processes, from their start to their end; an interpreter that does
nothing stands beside them. Target: ``gencore --version`` takes less than 100 ms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measuring import introduce, spread, verdict, workplace

MARGIN = 15e-3
LIMIT = 100e-3
STATEMENTS = (
    "import attrs",
    "import gencore",
    "from gencore import arm",
    "from gencore import Pipeline",
)

COMMANDS = {
    "python -c pass": "pass",
    **{
        f"gencore {arguments}": f"import sys; sys.argv = ['gencore', *{arguments.split()}]; "
        "from gencore.cli import main; main()"
        for arguments in ("--version", "ps", "dump --help", "--help")
    },
}


def measure(statement: str, cache: Path) -> float:
    """Return the seconds that *statement* takes in a new interpreter."""
    code = (
        "import time; begin = time.perf_counter()\n"
        f"{statement}\n"
        "print(time.perf_counter() - begin)"
    )
    return float(run(code, cache).stdout)


def measure_process(code: str, cache: Path) -> float:
    """Return the seconds from the start to the end of a new interpreter that runs *code*."""
    begin = time.perf_counter()
    run(code, cache)
    return time.perf_counter() - begin


def run(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new interpreter that has its byte code in *cache*."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def main() -> None:
    """Print one row for each statement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    introduce(f"Import time, median (range) of {arguments.rounds}")
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    processes: dict[str, list[float]] = {command: [] for command in COMMANDS}
    with workplace() as directory:
        for code in (*STATEMENTS, *COMMANDS.values()):  # fills the cache
            run(code, directory)
        for _ in range(arguments.rounds):
            for statement in STATEMENTS:
                times[statement].append(measure(statement, directory))
            for command, code in COMMANDS.items():
                processes[command].append(measure_process(code, directory))
    base = statistics.median(times["import attrs"])
    print("| statement | ms | more than attrs, ms | target |")
    print("|---|---|---|---|")
    for statement, taken in times.items():
        more = statistics.median(taken) - base
        met = verdict(met=more <= MARGIN) if statement == "import gencore" else "-"
        print(f"| `{statement}` | {spread(taken, 1e-3, 1)} | {more * 1e3:+.1f} | {met} |")
    print("\n| process | ms | target |")
    print("|---|---|---|")
    for command, taken in processes.items():
        met = verdict(met=statistics.median(taken) < LIMIT) if "--version" in command else "-"
        print(f"| `{command}` | {spread(taken, 1e-3, 1)} | {met} |")


if __name__ == "__main__":
    main()
