"""What the benchmarks share: heaps, the clone in C, a directory of their own, what they print.

Not a benchmark itself.
"""

import argparse
import contextlib
import ctypes
import datetime as dt
import json
import mmap
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

MIB = 1 << 20
PAGE = 4096

BareClone = Callable[[bytes | None], float]


def heap(mebibytes: int) -> list[bytearray]:
    """Return a heap as a service has it: half random, a quarter text, a quarter touched zeros.

    In three pieces, so that it gets huge pages where GLIBC_TUNABLES=glibc.malloc.hugetlb=1 asks.
    """
    quarter = mebibytes // 4
    random = bytearray().join(os.urandom(MIB) for _ in range(mebibytes // 2))
    text = bytearray().join(_text(number) for number in range(quarter))
    zeros = bytearray(quarter * MIB)
    zeros[::PAGE] = bytes(len(zeros) // PAGE)
    return [random, text, zeros]


def _text(number: int) -> bytes:
    line = b"2026-01-01T00:00:00 INFO request %07d: answered\n" % number
    return (line * (MIB // len(line) + 1))[:MIB]


def objects(mebibytes: int) -> list[object]:
    """Return a heap as Python has it: instances, dictionaries, strings, and JSON text."""
    held: list[object] = []
    enough = _resident() + mebibytes * MIB
    while _resident() < enough:
        orders = [_Order(len(held) + number) for number in range(2000)]
        held.append([orders, json.dumps([vars(order) for order in orders])])
    return held


class _Order:
    def __init__(self, number: int) -> None:
        self.number = number
        self.customer = f"customer {number * 7919 % 100_003}"
        self.lines = [{"article": f"{number:x}-{line}", "price": number / 3} for line in range(3)]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def circumstances() -> dict[str, str]:
    """Return when, where and by which command something is measured."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    tunables = os.environ.get("GLIBC_TUNABLES")
    before = f"GLIBC_TUNABLES={tunables} " if tunables else ""
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "machine": (
            f"{os.cpu_count()} CPUs, {platform.machine()}, {memory:.1f} GiB of memory, "
            f"load {os.getloadavg()[0]:.1f} at the beginning"
        ),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "command": f"{before}python {shlex.join(sys.argv)}",
    }


def introduced(title: str, *, heading: bool = True) -> str:
    """Return what is measured, and the circumstances."""
    lines = [f"- {name}: {text}" for name, text in circumstances().items()]
    return "\n".join([*([f"# {title}", ""] if heading else []), *lines, ""])


def introduce(title: str) -> None:
    """Print that."""
    print(introduced(title), flush=True)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Make a directory, and remove it with all that is in it."""
    directory = Path(tempfile.mkdtemp(prefix="gencore-benchmark-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def emptied(directory: Path) -> Path:
    """Make *directory* anew. What was to be written of the old one is written or forgotten."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    os.sync()
    return directory


def compile_bare_clone(directory: Path) -> BareClone:
    """Compile and load bare_clone.c. PyDLL: the GIL stays held, as it does in gencore."""
    library = directory / "bare_clone.so"
    source = Path(__file__).with_name("bare_clone.c")
    subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", source, "-o", library], check=True)
    function = ctypes.PyDLL(str(library)).bare_clone
    function.argtypes = [ctypes.c_char_p]
    function.restype = ctypes.c_double
    return function


def get_memory(mib: int) -> None:
    """Use so much memory, and free it: what is written next need not wait for any.

    A virtual machine that gives back what is free gets it again from its host, page by page, and
    whatever comes first would pay for that.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, mib * MIB, flags=flags).close()


def interleaved(
    first: Callable[[], float],
    second: Callable[[], float],
    rounds: int,
    before: Callable[[], object] = lambda: None,
):
    """Return the times of both, taken in turns after a warm-up; every other round swaps them.

    *before* is called before each turn.
    """
    first(), second()
    times: tuple[list[float], list[float]] = [], []
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            before()
            times[which].append((first, second)[which]())
    return times


def spread(times: list[float], unit: float, digits: int) -> str:
    """Return "median (lowest-highest)" in *unit* seconds."""
    values = (statistics.median(times), min(times), max(times))
    middle, low, high = (f"{value / unit:.{digits}f}" for value in values)
    return f"{middle} ({low}-{high})"


def bench_arguments(description: str) -> argparse.Namespace:
    """Read the options that all benchmarks of `make bench` have."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller ranges and fewer rounds")
    parser.add_argument("--size", type=int, metavar="MiB", help="the heap")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--output", type=Path, default=Path("build/bench"), metavar="DIRECTORY")
    arguments = parser.parse_args()
    arguments.size = arguments.size or (128 if arguments.quick else 1024)
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    return arguments


def table(head: Sequence[str], rows: Iterator[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def save(directory: Path, name: str, figures: dict[str, object], text: str) -> None:
    """Write NAME.json and NAME.md, and print the latter."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    (directory / f"{name}.md").write_text(text)
    print(text, flush=True)


def verdict(*, met: bool) -> str:
    """Return the word for the last column."""
    return "met" if met else "**missed**"
