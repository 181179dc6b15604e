"""A process with a given heap, threads, mappings and libraries that dumps itself when it is told.

What a benchmark measures runs in it, so that its heap is not the benchmark's, and so that the
benchmark sees what a dump does to processes: it adopts the recorders. Not a benchmark itself.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

sys.path.append(str(Path(__file__).parents[1] / "system" / "programs"))

from busy_threads import Computing
from children import children  # of the line above
from measuring import MIB, PAGE, compile_bare_clone, emptied, heap, objects

import gencore

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_TICK = 0.001
_services: set[int] = set()
HEAPS: dict[str, Callable[[int], object]] = {"objects and text": objects, "half random": heap}


class Service:
    """The process, as the benchmark sees it."""

    def __init__(self, place: Path, **spec: Any) -> None:
        """Start it, and wait until it is ready. *spec* is what `Inside` takes."""
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        cache = place / "cache"  # of libraries that are packed already
        cache.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, place, json.dumps(spec)],
            env=os.environ | {"XDG_CACHE_HOME": str(cache)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._standby = spec.get("standby", False)
        _services.add(self.pid)
        self.answer()

    def ask(self, what: str, *values: object) -> Any:
        """Let it do something, and wait until every recorder has ended, or waits for a dump.

        Return its answer.
        """
        self.tell(what, *values)
        answer = self.answer()
        for pid in _adopted():
            while not (os.waitpid(pid, os.WNOHANG)[0] or (self._standby and _stands_by(pid))):
                time.sleep(0.01)
        return answer

    def tell(self, what: str, *values: object) -> None:
        """Let it do something, of which `answer` returns the outcome."""
        self._process.stdin.write(json.dumps([what, values]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer to what it was told."""
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the measured service has ended; its error is above")
        return json.loads(line)

    def recorders(self) -> list[int]:
        """Return the recorders. A clone from which one was started is its parent until it ends."""
        return [*_adopted(), *(pid for clone in self.clones() for pid in children(clone))]

    def clones(self) -> list[int]:
        """Return its clones."""
        return children(self.pid)

    def processes(self) -> list[int]:
        """Return itself, its clones and its recorders."""
        return [self.pid, *self.clones(), *self.recorders()]

    def written(self) -> int:
        """Return what all of them have written to disks: a parent has what its dead have."""
        return sum(_written(pid) for pid in (self.pid, os.getpid()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        for pid in _adopted():  # one that stood by ends with it
            os.waitpid(pid, 0)


def _adopted() -> list[int]:
    """Return the recorders whose own parents have ended."""
    return [pid for pid in children() if pid not in _services]


def _stands_by(pid: int) -> bool:
    """Return whether it is a recorder that has loaded everything, and makes no dump."""
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        is_first_to_be_killed = (process / "oom_score_adj").read_text() == "1000\n"
        return is_first_to_be_killed and len(os.listdir(process / "task")) == 1
    return False


def _written(pid: int) -> int:
    rows = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(row.split(": ") for row in rows)["write_bytes"])


@contextlib.contextmanager
def beside(look: Callable[[], object], every: float = 0.005) -> Iterator[None]:
    """Call *look* again and again meanwhile. Processes may have ended when it looks."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every):
            with contextlib.suppress(OSError, LookupError):
                look()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Load:
    """A thread that does a little work again and again, and notes how regularly it could."""

    def __init__(self, kind: str, block: bytearray) -> None:
        self._work = {"idle": self._sleep, "reading": self._read, "writing": self._write}[kind]
        self._block, self._at = block, 0
        self.reset()
        threading.Thread(target=self._go_on, daemon=True).start()

    def reset(self) -> None:
        """Count from now on."""
        self._begin, self._done, self._longest = time.perf_counter(), 0, 0.0

    def so_far(self) -> dict[str, float]:
        """Return the pieces of work a second, and the longest gap between two."""
        seconds = time.perf_counter() - self._begin
        return {"rate": self._done / seconds, "gap": self._longest}

    def _go_on(self) -> None:
        last = time.perf_counter()
        while True:
            self._work()
            now = time.perf_counter()
            self._longest, self._done, last = max(self._longest, now - last), self._done + 1, now

    def _sleep(self) -> None:
        time.sleep(_TICK)

    def _read(self) -> None:
        self._block.count(0, self._at, self._next(MIB))

    def _write(self) -> None:
        begin, end = self._at, self._next(64 * PAGE)
        self._block[begin:end:PAGE] = bytes(len(range(begin, end, PAGE)))

    def _next(self, size: int) -> int:
        end = min(self._at + size, len(self._block))
        self._at = 0 if end == len(self._block) else end
        return end


class Inside:
    """What the process holds, and what it can be asked to do."""

    def __init__(
        self,
        place: Path,
        *,
        heap: str = "half random",
        mib: int = 0,
        threads: int = 0,
        mappings: int = 0,
        libraries: list[str] | None = None,
        reserved: int = 0,
        load: str | None = None,
        standby: bool = False,
    ) -> None:
        self._cores = place / "cores"
        self._clone = compile_bare_clone(place)
        self._held = [HEAPS[heap](mib), list(_mapped(mappings)), list(_reserved(reserved))]
        self._held += [ctypes.CDLL(path) for path in libraries or ()]
        for _ in range(threads):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        gencore.arm()
        self._standby = standby
        self._pipelines = {kind: self._pipeline(kind) for kind in ("bundle", "raw")}
        self._load = load and Load(load, self._held[0][0])

    def _pipeline(self, kind: str, *, prepared: bool = True) -> gencore.Pipeline:
        chosen = {"collectors": ["raw"]} if kind == "raw" else {}
        pipeline = gencore.Pipeline(directory=emptied(self._cores), **chosen)
        if prepared:
            pipeline.prepare(standby=self._standby)
        return pipeline

    def bare_clone(self) -> float:
        """Return its seconds."""
        return self._clone(None)

    def kernels_core(self) -> float | None:
        """Return the seconds of the kernel's own dump, or None if it leaves none there."""
        seconds = self._clone(os.fsencode(emptied(self._cores)))
        found = any(self._cores.iterdir())
        emptied(self._cores)
        return seconds if found else None

    def dump(self, kind: str = "bundle") -> dict[str, Any]:
        """Return the seconds of `start`, of the pause and of the whole dump, and the result."""
        return self._dump(self._pipelines[kind])

    def first_dump(self) -> dict[str, Any]:
        """Do so with a pipeline that was not prepared: its recorder has all loaded at first."""
        return self._dump(self._pipeline("bundle", prepared=False))

    def _dump(self, pipeline: gencore.Pipeline) -> dict[str, Any]:
        emptied(self._cores)
        begin = time.perf_counter()
        dump = pipeline.start()
        captured = time.perf_counter()
        report = dump.result()
        whole = time.perf_counter() - begin
        (artifact,) = _complete(report).artifacts
        return {
            "captured": captured,  # the clock of all processes
            "call": captured - begin,
            "pause": report.pause.total,
            "whole": whole,
            "size": artifact.size,
            "path": str(artifact.path),
        }

    def loop_gap(self, busy: int) -> dict[str, float]:
        """Return the longest gaps of an event loop in a dump and without one, and the pause."""
        emptied(self._cores)
        with Computing(busy):
            return asyncio.run(self._loop_gap())

    async def _loop_gap(self) -> dict[str, float]:
        begin = time.perf_counter()
        ticks = asyncio.create_task(_longest_gap(0))
        await asyncio.sleep(0)
        report = _complete(await self._pipelines["bundle"].start())
        ticks.cancel()
        seconds = time.perf_counter() - begin
        quiet = await _longest_gap(seconds)
        return {"dump": await ticks, "none": quiet, "pause": report.pause.total}

    def loaded(self) -> dict[str, Any]:
        """Return what the load has done in a dump, and in as long a time without one."""
        emptied(self._cores)
        self._load.reset()
        report = _complete(self._pipelines["bundle"].run())
        dump = self._load.so_far()
        seconds = time.perf_counter() - self._load._begin
        self._load.reset()
        time.sleep(seconds)
        return {
            "dump": dump,
            "none": self._load.so_far(),
            "seconds": seconds,
            "pause": report.pause.total,
        }


async def _longest_gap(seconds: float) -> float:
    """Return the longest time between two ticks, of so many seconds, or until it is cancelled."""
    longest, begin = 0.0, time.perf_counter()
    last = begin
    with contextlib.suppress(asyncio.CancelledError):
        while not seconds or last < begin + seconds:
            await asyncio.sleep(_TICK)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    return longest


def _complete(report: gencore.Report) -> gencore.Report:
    if report.result != "complete" or report.recorder != "process":
        raise SystemExit(f"{report.result}, {report.recorder_reason}: {report.failed}")
    return report


def _mapped(count: int) -> Iterator[mmap.mmap]:
    """Yield mappings of one touched page each. Neighbours differ, or they would become one."""
    for number in range(count):
        mapping = mmap.mmap(-1, PAGE)
        mapping[0] = 1
        if number % 2:
            address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
            ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), PAGE, mmap.PROT_READ)
        yield mapping


def _reserved(gibibytes: int) -> Iterator[mmap.mmap]:
    """Yield address space without memory, as allocators and JIT compilers reserve it."""
    if gibibytes:
        yield mmap.mmap(-1, gibibytes << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)


def main() -> None:
    """Do what the lines of standard input ask for."""
    gc.disable()
    inside = Inside(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    print("null", flush=True)
    for line in sys.stdin:
        what, values = json.loads(line)
        print(json.dumps(getattr(inside, what)(*values)), flush=True)


if __name__ == "__main__":
    main()
