"""Compare the pause with a bare clone of the same process, by number of threads and size of heap.

    python tests/benchmarks/pause_by_threads.py [--threads N ...] [--rounds N] [MiB ...]

The threads wait: a quarter each in a sleep, a queue, a lock with a timeout and a socket. All are
stopped (threads="auto"). Each dump is cancelled as soon as the pause is over: nothing is written.
Target: the pause is at most 1.1 times the bare clone, plus 60 microseconds for each thread.
"""

import argparse
import contextlib
import functools
import itertools
import queue
import socket
import statistics
import threading
import time
from concurrent.futures import CancelledError

from measuring import compile_bare_clone, heap, interleaved, introduce, spread, verdict, workplace

import gencore

FACTOR, PER_THREAD = 1.1, 60e-6


class Nothing(gencore.Collector):
    """Wants nothing, so that only the pause takes place."""

    name = "nothing"
    api_version = (1, 0)
    makes_files = False

    def finish(self, _dump):
        """Make nothing."""
        return []


class Waiting:
    """Threads that wait in different calls until they are told to end."""

    def __init__(self, number: int) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._lock.acquire()
        self._queue: queue.Queue[None] = queue.Queue()
        self._ours, self._theirs = socket.socketpair()
        waits = (self._sleep, self._queue.get, self._timed_lock, self._recv)
        targets = itertools.islice(itertools.cycle(waits), number)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()
        time.sleep(0.2)  # until the last one waits

    def _sleep(self) -> None:
        while not self._ended.is_set():
            time.sleep(1)

    def _timed_lock(self) -> None:
        if self._lock.acquire(timeout=3600):
            self._lock.release()

    def _recv(self) -> None:
        self._theirs.recv(1)

    def end(self) -> None:
        """End them all."""
        self._ended.set()
        self._lock.release()
        self._ours.close()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._theirs.close()


def pause(pipeline: gencore.Pipeline, stopped: list[float]) -> float:
    """Make one dump, and give it up once the process runs on."""
    dump = pipeline.start()
    dump.cancel()
    with contextlib.suppress(CancelledError):
        dump.result()
    exact = sum(thread.registers == "exact" for thread in dump.threads)
    stopped.append(exact / len(dump.threads))
    return dump.pause.total


def main() -> None:
    """Print one row for each size and number of threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[256, 1024, 4096, 8192])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 16, 256, 2000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    introduce(f"Pause by threads and heap, median (range) of {arguments.rounds}")
    pipeline = gencore.Pipeline(collectors=[Nothing])
    print("| heap MiB | threads | bare clone ms | pause ms | exact | allowed ms | target |")
    print("|---|---|---|---|---|---|---|")
    with workplace() as directory:
        bare_clone = compile_bare_clone(directory)
        for size in arguments.sizes:
            ballast = heap(size)
            for number in arguments.threads:
                waiting = Waiting(number - 1)
                stopped: list[float] = []
                bare = functools.partial(bare_clone, None)
                ours = functools.partial(pause, pipeline, stopped)
                bares, pauses = interleaved(bare, ours, arguments.rounds)
                waiting.end()
                allowed = FACTOR * statistics.median(bares) + number * PER_THREAD
                print(
                    f"| {size} | {number} | {spread(bares, 1e-3, 2)} | {spread(pauses, 1e-3, 2)} "
                    f"| {min(stopped):.0%} | {allowed * 1e3:.2f} "
                    f"| {verdict(met=statistics.median(pauses) <= allowed)} |",
                    flush=True,
                )
            del ballast


if __name__ == "__main__":
    main()
