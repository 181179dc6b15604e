"""Compare the pause, the time to the core and the time to the bundle with what others need.

    python tests/benchmarks/dump.py [MiB ...]

Pause: against a bare clone of this process in C. Core: against the kernel's own dump of such a
clone. Bundle: against ``gcore`` and ``tar czf``, for the size 1024. All in one run, interleaved;
medians. Prints Markdown.
"""

import ctypes
import datetime as dt
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gencore

ROUNDS = 5
SIZES = (256, 1024, 4096)


def heap(mebibytes):
    """Return memory of a service's kind: half random, a quarter text, a quarter zeros, touched."""
    half, quarter = mebibytes // 2, mebibytes // 4
    random = [bytearray(os.urandom(1 << 20)) for _ in range(half)]
    text = [bytearray(b"some text of a service %07d\n" % i * 34953) for i in range(quarter)]
    zeros = bytearray(quarter << 20)
    for page in range(0, len(zeros), 4096):
        zeros[page] = 0
    return random, text, zeros


def compile_bare_clone(directory):
    """Compile and load the C part. PyDLL: the GIL stays held, as in gencore."""
    library = directory / "bare_clone.so"
    source = Path(__file__).with_name("bare_clone.c")
    subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", source, "-o", library], check=True)
    function = ctypes.PyDLL(str(library)).bare_clone
    function.restype = ctypes.c_double
    return function


def emptied(directory):
    """Make *directory* anew."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def one_round(bare_clone, pipeline, directory):
    """Measure each thing once: (bare clone, pause, kernel's dump, our core), in seconds."""
    bare = bare_clone(None)
    begin = time.perf_counter()
    dump = pipeline.start()
    dump.result()
    ours = time.perf_counter() - begin
    emptied(directory / "ours")
    kernel = bare_clone(os.fsencode(emptied(directory / "kernel")))
    emptied(directory / "kernel")
    return bare, dump.pause.total, kernel, ours


def compare_cores(sizes, directory):
    """Print the table of pauses and of cores."""
    bare_clone = compile_bare_clone(directory)
    pipeline = gencore.Pipeline(collectors=["raw"], directory=emptied(directory / "ours"))
    print("| heap MiB | bare clone ms | pause ms | ratio | kernel's dump s | core s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for size in sizes:
        ballast = heap(size)
        one_round(bare_clone, pipeline, directory)
        rounds = [one_round(bare_clone, pipeline, directory) for _ in range(ROUNDS)]
        bare, pause, kernel, ours = (
            statistics.median(column) for column in zip(*rounds, strict=True)
        )
        print(
            f"| {size} | {bare * 1e3:.2f} | {pause * 1e3:.2f} | {pause / bare:.2f} "
            f"| {kernel:.2f} | {ours:.2f} | {ours / kernel:.2f} |",
            flush=True,
        )
        del ballast


def compare_bundles(size, directory):
    """Print our bundle, median of three, against gcore and tar, once, on this process."""
    ballast = heap(size)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        bundle = gencore.collect_core(directory=emptied(directory / "ours"))
        times.append(time.perf_counter() - begin)
    ours, packed = statistics.median(times), bundle.stat().st_size
    emptied(directory / "ours")
    theirs = emptied(directory / "kernel")
    begin = time.perf_counter()
    command = ["gcore", "-o", theirs / "core", str(os.getpid())]
    subprocess.run(command, check=True, capture_output=True)
    pack = ["tar", "czf", directory / "theirs.tar.gz", "-C", theirs, f"core.{os.getpid()}"]
    subprocess.run(pack, check=True)
    other = time.perf_counter() - begin
    print("\n| heap MiB | gcore + tar czf s | collect_core s | times faster | bundle MiB |")
    print("|---|---|---|---|---|")
    print(f"| {size} | {other:.1f} | {ours:.1f} | {other / ours:.1f} | {packed / 2**20:.0f} |")
    del ballast


def main():
    """Run everything."""
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    day = dt.datetime.now(dt.UTC).date()
    kernel = f"Linux {platform.release().split('-')[0]}"
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    print(f"{day}, {kernel}, {cores}, Python {platform.python_version()}\n")
    directory = Path(tempfile.mkdtemp(prefix="gencore-benchmark-"))
    try:
        compare_cores(sizes, directory)
        compare_bundles(1024, directory)
    finally:
        shutil.rmtree(directory)


main()
