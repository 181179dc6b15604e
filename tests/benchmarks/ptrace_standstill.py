"""How long an unarmed process stands still: gencore dump --ptrace beside gdb's gcore.

    python tests/benchmarks/ptrace_standstill.py [--threads N] [--rounds N] [MiB]

The process is dumped_service.py. "Standstill" is the longest time in which a thread of it that
ticks every millisecond did not; of each tool the median of the rounds, which alternate. Needs gdb,
and the right to trace. Target: gcore's standstill is at least 10 times the other.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import emptied, introduce, verdict, workplace

FACTOR = 10


class Service:
    """The process that is dumped by others."""

    def __init__(self, mebibytes: int, threads: int, directory: Path) -> None:
        script = Path(__file__).with_name("dumped_service.py")
        command = [sys.executable, script, str(mebibytes), str(threads), directory]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self._told()

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def standstill(self, command: list[str]) -> float:
        """Run a command meanwhile; return the longest time without a tick, in seconds."""
        self._ask("begin")
        subprocess.run(command, capture_output=True, check=True)
        return float(self._ask("gap")["gap"])

    def _ask(self, line: str) -> dict[str, Any]:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._told()

    def end(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """Measure, print, and exit with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mebibytes", nargs="?", type=int, default=512)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    introduce("Standstill of an unarmed process")
    with workplace() as directory:
        service = Service(given.mebibytes, given.threads, directory)
        pid = str(service.pid)
        cores = directory / "cores"
        cores.mkdir()
        ours = [sys.executable, "-m", "gencore", "dump", "--ptrace", pid, "--collector", "raw"]
        commands = {
            "gencore": [*ours, "-o", str(cores), "--quiet"],
            "gcore": ["gcore", "-o", str(cores / "gcore"), pid],
        }
        gaps: dict[str, list[float]] = {tool: [] for tool in commands}
        for _ in range(given.rounds):
            for tool, command in commands.items():
                gaps[tool].append(service.standstill(command))
                emptied(cores)
        service.end()
    medians = {tool: statistics.median(rows) for tool, rows in gaps.items()}
    for tool, rows in gaps.items():
        print(f"- {tool}: " + ", ".join(f"{1000 * row:.0f}" for row in rows) + " ms")
    ratio = medians["gcore"] / medians["gencore"]
    met = ratio >= FACTOR
    print(
        f"- gcore's standstill is {ratio:.1f} times as long, target {FACTOR}: {verdict(met=met)}"
    )
    sys.exit(not met)


if __name__ == "__main__":
    main()
