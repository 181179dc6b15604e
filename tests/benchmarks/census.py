"""Measure what counting the objects of a core costs.

    python tests/benchmarks/census.py [MiB] [--rounds N] [--preload LIBRARY] [--malloc NAME]

User CPU time of a process that takes a census of a core (`gencore.analysis`), per
GiB of the core and as a ratio of what one sum of all its words costs in the same process. The core
is that of a process with instances, dictionaries, lists, texts and numbers of about that size,
which has another malloc with --preload, and another PYTHONMALLOC with --malloc.
Target: at most 2 s per GiB.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import MIB, introduce, verdict, workplace

LIMIT = 2.0
BYTES_OF_ONE = 470
"""Of an order and a row, roughly."""

DUMPED = """if True:
    import os, sys, gencore
    class Order:
        def __init__(self, number):
            self.number, self.name = number, f"order-{number}"
            self.price, self.lines = number * 1.5, [number, number + 1]
    orders = [Order(number) for number in range(int(sys.argv[2]))]
    rows = [{"a": number, "b": (number, str(number))} for number in range(int(sys.argv[2]) // 3)]
    print(gencore.create_core(directory=sys.argv[1]), flush=True)
    os._exit(0)
"""
COUNTED = """if True:
    import json, pathlib, resource, sys
    import numpy as np
    from gencore.analysis import Memory, find_python
    from gencore.analysis.heap.census import take_census
    from gencore.corefile import CoreFile
    def user():
        return resource.getrusage(resource.RUSAGE_SELF).ru_utime
    path = pathlib.Path(sys.argv[1])
    begin = user()
    np.fromfile(path, np.uint64, path.stat().st_size // 8).sum()
    summed = user()
    with CoreFile(path) as core:
        memory = Memory.of_core(core, path, this_machine=True)
        census = take_census(find_python(memory, core))
    objects = sum(row.count for row in census.types)
    print(json.dumps([summed - begin, user() - summed, objects]))
"""


def run(code: str, *arguments: object, **variables: str | None) -> str:
    """Run code in a new interpreter, with variables of its environment; return what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {name: value for name, value in variables.items() if value}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mebibytes", nargs="?", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preload")
    parser.add_argument("--malloc")
    options = parser.parse_args()
    introduce("Census of the objects in a core")
    with workplace() as directory:
        orders = options.mebibytes * MIB // BYTES_OF_ONE
        variables = {"LD_PRELOAD": options.preload, "PYTHONMALLOC": options.malloc}
        core = Path(run(DUMPED, directory, orders, **variables))
        size = core.stat().st_size / (1024 * MIB)
        rows = [json.loads(run(COUNTED, core)) for _ in range(options.rounds)]
    summed, counted, objects = (statistics.median(column) for column in zip(*rows, strict=True))
    met = verdict(met=counted / size <= LIMIT)
    print("| core GiB | objects | user CPU s | s per GiB | of one sum of its words | target |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {size:.2f} | {objects:,.0f} | {counted:.2f} | {counted / size:.2f} "
        f"| {counted / summed:.0f} | {met} |"
    )


if __name__ == "__main__":
    main()
