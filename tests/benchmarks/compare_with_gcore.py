"""Dump the same process with gencore and with gdb's gcore, and compare what the cores are worth.

    python tests/benchmarks/compare_with_gcore.py [--threads N] [--rounds N] [MiB]

The process is dumped_service.py. "Standstill" is the longest time in which a thread of it that
ticks every millisecond did not, the lowest of the rounds; the pause is what gencore reports.
The sizes are what is allocated on disk. Needs gdb, pystack, py-spy, and the right to trace.
Targets: gcore's standstill is at least 100 times the pause; linux-elf's core takes no more room
than the kernel's.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
from measuring import emptied, introduce, verdict, workplace

FACTOR = 100
GENCORE = ("linux-elf full", "linux-elf private", "linux-sigsegv full")


@attrs.frozen
class Core:
    """What one tool made."""

    path: Path
    gap: float
    pause: float | None = None


class Service:
    """The process that is dumped."""

    def __init__(self, mebibytes: int, threads: int, directory: Path) -> None:
        self.directory = directory
        script = Path(__file__).with_name("dumped_service.py")
        command = [sys.executable, script, str(mebibytes), str(threads), directory]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._told()

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line, return the answer."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._told()

    def dump(self, tool: str) -> Core:
        """Let one tool dump it."""
        if tool != "gcore":
            told = self.ask(tool)
            return Core(Path(told["core"]), told["gap"], told["pause"])
        self.ask("begin")
        pid = self._process.pid
        command = ["gcore", "-o", str(self.directory / "gcore"), str(pid)]
        subprocess.run(command, capture_output=True, check=True)
        return Core(self.directory / f"gcore.{pid}", self.ask("gap")["gap"])

    def end(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def run(*command: object) -> str:
    """Return what a reader prints; that it fails is a result."""
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False
    ).stdout


def read_back(core: Path) -> str:
    """Return the cells that say what gdb, pystack and py-spy see."""
    python = os.path.realpath(sys.executable)
    beside = Path(sys.executable).parent
    shown = run("gdb", "-nx", "-batch", "-ex", "thread apply all bt", python, core)
    stacks = re.split(r"^Thread \d+ ", shown, flags=re.MULTILINE)[1:]
    frames = [len(re.findall(r"^#\d+ ", stack, re.MULTILINE)) for stack in stacks]
    unknown = len(re.findall(r" in \?\? ", shown))
    pystack = run(beside / "pystack", "--no-color", "core", "--native", core, python)
    merged = pystack.count("Traceback for thread") - pystack.count("Unable to merge")
    spied = run(beside / "py-spy", "dump", "--core", core)
    return (
        f"{len(stacks)} | {min(frames)} / {statistics.median(frames):g} | {unknown} "
        f"| {merged} | {len(re.findall(r'^Thread ', spied, re.MULTILINE))}"
    )


def main() -> None:
    """Print one row for each tool."""
    parser = argparse.ArgumentParser()
    parser.add_argument("size", nargs="?", type=int, default=1024, metavar="MiB")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    introduce(f"gencore and gcore, {arguments.size} MiB, {arguments.threads} threads")
    print("| tool | threads in gdb | frames: least / median | of them ?? ", end="")
    print("| merged in pystack | threads in py-spy | MiB on disk | standstill ms | pause ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    gaps, pauses, sizes = {}, {}, {}
    with workplace() as place:
        service = Service(arguments.size, arguments.threads, emptied(place / "cores"))
        for tool in (*GENCORE, "gcore"):
            cores = []
            for _ in range(arguments.rounds):
                for earlier in cores:
                    earlier.path.unlink(missing_ok=True)
                cores.append(service.dump(tool))
            gaps[tool] = min(core.gap for core in cores)
            pauses[tool] = min((core.pause for core in cores if core.pause), default=None)
            sizes[tool] = cores[-1].path.stat().st_blocks * 512
            pause = "" if pauses[tool] is None else f"{pauses[tool] * 1e3:.1f}"
            print(
                f"| {tool} | {read_back(cores[-1].path)} | {sizes[tool] / 2**20:.0f} "
                f"| {gaps[tool] * 1e3:.1f} | {pause} |",
                flush=True,
            )
            cores[-1].path.unlink()
        service.end()
    ratio = gaps["gcore"] / pauses[GENCORE[0]]
    print(f"\n- gcore's standstill / the pause: {ratio:.0f}, {verdict(met=ratio >= FACTOR)}")
    smaller = sizes[GENCORE[0]] <= sizes[GENCORE[2]]
    print(f"- linux-elf's core takes no more room than the kernel's: {verdict(met=smaller)}")


if __name__ == "__main__":
    main()
