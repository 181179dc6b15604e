"""Compare a bundle's size with the estimate of its core that the space is checked with.

    python tests/benchmarks/bundle_size.py

Each heap in a new interpreter. Target: the ratio that the check takes for usual, or more, for
large heaps of Python objects and texts.
"""

import subprocess
import sys
from pathlib import Path

from measuring import MIB, introduce, verdict, workplace

from gencore._pipeline.space import USUAL_RATIO

_MEASURE = """
import os, sys
sys.path.insert(0, sys.argv[1])
import gencore, measuring
heap = eval(sys.argv[2])
pipeline = gencore.Pipeline(directory=sys.argv[3])
estimate = pipeline._choose()[1].core_size
print(estimate, pipeline.run().path_of("archive").stat().st_size)
"""
_ORDINARY = {
    "objects": "[{'id': i, 'name': f'customer {i}', 'total': i * 1.37} for i in range(400_000)]",
    "texts": "[f'request {i} of customer {i % 977} answered' * 9 for i in range(400_000)]",
}
_OTHER = {
    "no heap": "None",
    "half random, as in the other benchmarks": "measuring.heap(200)",
    "random": "os.urandom(200 << 20)",
}


def measure(heap: str) -> tuple[int, int]:
    """Return the estimate of the core and the size of the bundle, in bytes."""
    with workplace() as directory:
        command = [sys.executable, "-c", _MEASURE, str(Path(__file__).parent), heap, directory]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    estimate, bundle = map(int, done.stdout.split())
    return estimate, bundle


def main() -> None:
    """Measure, and print a row for each heap."""
    introduce("The size of a bundle, and the estimate of its core")
    print("| heap | estimate MiB | bundle MiB | ratio | target |")
    print("|---|---|---|---|---|")
    for name, heap in (_ORDINARY | _OTHER).items():
        estimate, bundle = measure(heap)
        ratio = estimate / bundle
        target = verdict(met=ratio >= USUAL_RATIO) if name in _ORDINARY else ""
        print(
            f"| {name} | {estimate / MIB:.0f} | {bundle / MIB:.0f} | {ratio:.1f} | {target} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
