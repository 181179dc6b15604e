"""Measures CPU time and size of what the packers make of one core, in turns.

    python tests/benchmarks/codecs.py [MIB]

Prints a Markdown table; the first row is `archive`, which the others are compared with.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import gencore
from gencore.bundle import GZIP, ZSTD, BundleWriter

ROUNDS = 3
PACKINGS = ((GZIP, GZIP.level), (ZSTD, -1), (ZSTD, 1), (ZSTD, 3))


class Order:
    """An object as services have them."""

    def __init__(self, number):
        self.number = number
        self.customer = f"customer {number * 7919 % 10007}"
        self.lines = [{"article": number + n, "price": 1.25 * n} for n in range(3)]


def objects(mib):
    """Return a heap of about so many MiB: instances, dicts, strings, text of JSON."""
    orders = [Order(number) for number in range(mib * 700)]
    return orders, [json.dumps(vars(order)) for order in orders]


def pack(core, file, codec, level):
    """Return CPU seconds and bytes of a bundle that has only the core."""
    begun = time.process_time()
    writer = BundleWriter(file, "core", 0, codec, level)
    writer.begin("core", core.stat().st_size, tree=True)
    with core.open("rb") as data:
        while chunk := data.read(1 << 20):
            writer.write(chunk)
    writer.end()
    writer.close()
    return time.process_time() - begun, file.tell()


def main():
    """Measure each way of packing, the least of some rounds."""
    heap = objects(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
    with tempfile.TemporaryDirectory() as folder:
        core = gencore.create_core(directory=folder)
        del heap
        found = {packing: [] for packing in PACKINGS}
        for _ in range(ROUNDS):
            for packing, rounds in found.items():
                with (Path(folder) / "bundle").open("wb") as file:
                    rounds.append(pack(core, file, *packing))
        mib = core.stat().st_size / 2**20
    (first, first_size), *_ = (min(rounds) for rounds in found.values())
    print(f"Core of {mib:.0f} MiB, CPU seconds, the least of {ROUNDS} rounds\n")
    print("| codec | level | CPU s | x archive | MiB | x archive |\n|---|---|---|---|---|---|")
    for (codec, level), rounds in found.items():
        took, size = min(rounds)
        columns = (f"{took:.2f}", f"{took / first:.2f}", f"{size / 2**20:.1f}")
        print(
            "|", codec.name, "|", level, "|", " | ".join(columns), f"| {size / first_size:.2f} |"
        )


if __name__ == "__main__":
    main()
