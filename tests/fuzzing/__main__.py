"""``python -m tests.fuzzing``: runs cases, and prints what was found, with the seed."""

import argparse
import re
import sys
import time
from collections import Counter
from functools import partial
from importlib import import_module
from itertools import count, islice

from tests.fuzzing import cases, readers

MODES = ("readers", "commands", "tars", "cores")
MODULES = {"cores": "process_cores"}
"""The module of a mode that has another name."""


def main():
    """Return 1 if a reader did what it may not do."""
    options = _options()
    mode = import_module(f"tests.fuzzing.{MODULES.get(options.mode, options.mode)}")
    make = getattr(mode, "make", partial(cases.make, kinds=getattr(mode, "KINDS", cases.KINDS)))
    said, seen, found, begun = Counter(), 0, 0, time.process_time()
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    for seed in islice(count(options.seed), None if end else options.cases):
        if end and time.monotonic() > end:
            break
        case = make(seed)
        seen += 1
        try:
            said.update(re.sub(r"'.*'|[0-9,]*[0-9]", "N", text)[:80] for text in mode.check(case))
        except readers.Finding as error:
            found += 1
            print(f"seed {seed} ({case.origin}): {error}", flush=True)
            print(f"  python -m tests.fuzzing {options.mode} --seed {seed} --cases 1", flush=True)
    took = time.process_time() - begun
    print(f"{options.mode}: {seen:,} cases from seed {options.seed}: {found} findings, ", end="")
    print(f"{len(said)} kinds of outcome, {took:.0f} s of CPU time in this process")
    if options.outcomes:
        print(*(f"{number:8} {text}" for text, number in said.most_common()), sep="\n")
    return 1 if found else 0


def _options():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--seed", type=int, default=0, help="the first case's")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--minutes", type=float, help="instead of a number of cases")
    parser.add_argument("--outcomes", action="store_true", help="list what the readers said")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
