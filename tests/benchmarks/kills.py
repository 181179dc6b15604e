"""Kill a dump's target, recorder or snapshot at random moments, and check what is left of it.

    python tests/benchmarks/kills.py [--seed N] [--count N] [--signal NAME] [VICTIM...]

For each victim as many kills as wanted, spread at random over the time that a dump takes, from
the start of the recorder to the publication. Every second dump is one of a pipeline that was
prepared. After each kill, in what is left:

- no process of the dump goes on, and a service that lives on has no child, descriptor or thread
  more than before;
- a report says complete only if its artefact is there and whole;
- the next dump is complete, and beside it nothing is left but whole artefacts under final names.

Prints one JSON object; "violations" says what was not so. Ends with 1 if there are any.
"""

import argparse
import contextlib
import json
import os
import random
import secrets
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from measuring import workplace

from gencore.corefile import CoreFile
from gencore.errors import GencoreError

VICTIMS: Final = ("target", "recorder", "snapshot")
MARK: Final = "GENCORE_TEST_KILLS"
"""A variable that all processes of one service have in their environment, and no others."""
LIMIT: Final = 60.0
"""Seconds after which a dump that has not ended, or a process that is left, is a violation."""
SERVICE: Final = """
import glob, json, os, sys
import gencore

ballast = os.urandom(8 << 20)
chosen = {"directory": sys.argv[1], "content": "private", "collectors": ["raw"]}
prepared = gencore.Pipeline(**chosen)
prepared.prepare()
prepared.run().path_of("raw").unlink()

def state():
    while len(os.listdir("/proc/self/task")) > 1:  # the last dump's threads
        os.sched_yield()
    children = "".join(open(path).read() for path in glob.glob("/proc/self/task/*/children"))
    return [children, len(os.listdir("/proc/self/fd"))]

print(json.dumps(state()), flush=True)
for line in sys.stdin:
    try:
        dump = prepared.start() if line == "prepared\\n" else gencore.start(**chosen)
        report = dump.result()
        names = [artifact.path.name for artifact in report.artifacts]
        told = [report.result, names, [failed.reason for failed in report.failed]]
    except gencore.GencoreError as error:
        told = ["raised", [], [repr(error)]]
    print(json.dumps([*told, state()]), flush=True)
"""


class Service:
    """A process that dumps itself when it is asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mark = f"{MARK}={secrets.token_hex(8)}".encode()
        name, _, value = self.mark.decode().partition("=")
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, directory],
            env={**os.environ, name: value},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.pid = self._process.pid
        self.state = self.answer()

    def ask(self, kind: str) -> None:
        """Let it begin a dump."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind}\n".encode())

    def answer(self) -> Any:
        """Return what it says of a dump; None if it says nothing in time, or has ended."""
        assert self._process.stdout is not None
        if not self.has_answered(LIMIT):
            return None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def has_answered(self, timeout: float) -> bool:
        """Wait so many seconds until it has, or has ended."""
        return bool(select.select([self._process.stdout], [], [], timeout)[0])

    def children(self) -> list[int]:
        """Return the children of all its threads."""
        texts = []
        for path in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                texts.append(path.read_text())
        return [int(pid) for text in texts for pid in text.split()]

    def others(self) -> list[int]:
        """Return all its processes but itself: recorders, clones, and what comes before them."""
        found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(path)]
        return [pid for pid in found if pid != self.pid]

    def _is_ours(self, path: Path) -> bool:
        try:
            return self.mark in (path / "environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def find(self, victim: str) -> int | None:
        """Return the process that is to be killed, if there is one now."""
        if victim == "target":
            return self.pid
        children = self.children()
        if victim == "snapshot":
            found = [pid for pid in children if runs(pid)]
        else:
            found = [pid for pid in self.others() if pid not in children]
        return found[0] if found else None

    def leaves_nothing(self) -> bool:
        """Wait until none of its other processes is left. Return whether that came in time."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if not self.others():
                return True
            time.sleep(0.02)
        return False

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Attack:
    """Kills of one victim, and what they have led to."""

    def __init__(self, directory: Path, victim: str, number: int, moments: random.Random) -> None:
        self.directory, self.victim, self.number, self.moments = directory, victim, number, moments
        self.outcomes: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self._service = Service(directory)
        self._spans = {kind: self._span(kind) for kind in ("prepared", "fresh")}

    def _span(self, kind: str) -> float:
        """Return the seconds that the victim of an undisturbed dump is there."""
        self._service.ask(kind)
        first = last = 0.0
        while not self._service.has_answered(0):
            if self._service.find(self.victim) is not None:
                last = time.monotonic()
                first = first or last
        (self.directory / self._service.answer()[1][0]).unlink()
        return last - first

    def run(self, count: int) -> None:
        """Kill so many of them."""
        killed = 0
        while killed < count:
            kind = ("prepared", "fresh")[killed % 2]
            self._service.ask(kind)
            hit = self._kill(self.moments.uniform(0, self._spans[kind]))
            killed += hit
            self._check_outcome()
            self._check_next()

    def _kill(self, delay: float) -> bool:
        """Kill the victim so long after it has appeared. Return whether it was there."""
        while self._service.find(self.victim) is None:
            if self._service.has_answered(0):
                return False
        time.sleep(delay)
        pid = self._service.find(self.victim)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, self.number)
        return True

    def _check_outcome(self) -> None:
        answer = self._service.answer()
        if self.victim == "target":
            self._start_again()
        elif answer is None:
            self.violations["a dump did not end"] += 1
            self._start_again()
        else:
            self._check_answer(answer)

    def _check_answer(self, answer: Any) -> None:
        result, names, reasons, state = answer
        self.outcomes[result] += 1
        whole = all(is_whole(self.directory / name) for name in names)
        self._expect(result != "complete" or (bool(names) and whole), "complete, and is not")
        self._expect(result != "failed" or bool(reasons), "failed without a reason")
        self._expect(self._service.leaves_nothing(), "a process is left of a dump")
        self._expect(state == self._service.state, f"the service has {state}")

    def _check_next(self) -> None:
        self._service.ask("prepared")
        answer = self._service.answer()
        self._expect(answer is not None and answer[0] == "complete", f"the next dump: {answer}")
        for path in self.directory.iterdir():
            self._expect(not path.name.startswith("."), "a leftover was not swept")
            whole = ".truncated" in path.name or is_whole(path)
            self._expect(whole, "half an artefact has a final name")
            if path.is_file():
                path.unlink()

    def _expect(self, kept: object, otherwise: str) -> None:
        if not kept:
            self.violations[otherwise] += 1

    def _start_again(self) -> None:
        self._service.end()
        self._expect(self._service.leaves_nothing(), "a process is left of a killed target")
        self._service = Service(self.directory)

    def end(self) -> None:
        """End the service."""
        self._service.end()


def runs(pid: int) -> bool:
    """Return whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_whole(path: Path) -> bool:
    """Return whether a core has all that its headers promise."""
    try:
        with CoreFile(path) as core:
            return core.why_incomplete() is None
    except (GencoreError, OSError):
        return False


def main() -> int:
    """Run all attacks, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--signal", default="KILL", help="without SIG")
    parser.add_argument("victims", nargs="*", metavar="VICTIM")
    chosen = parser.parse_args()
    found: dict[str, Any] = {"seed": chosen.seed, "count": chosen.count, "signal": chosen.signal}
    violations: Counter[str] = Counter()
    for victim in chosen.victims or VICTIMS:
        with workplace() as directory:
            moments = random.Random(f"{chosen.seed} {victim}")
            attack = Attack(directory, victim, signal.Signals[f"SIG{chosen.signal}"], moments)
            attack.run(chosen.count)
            attack.end()
        found[victim] = dict(attack.outcomes)
        violations.update({f"{victim}: {text}": n for text, n in attack.violations.items()})
    print(json.dumps({**found, "violations": violations}, indent=1))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
