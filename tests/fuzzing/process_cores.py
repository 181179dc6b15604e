"""Reads a core of a real process with damaged words, and checks what that may do and cost.

All questions of `gencore.analysis.answers` are asked of each case, in a process of its own. It may
answer, or raise an `IntegrityError`; take ten times the CPU time of the undamaged core, and memory
of twice the core's size. Most of the damage is where a sound core is read. With GENCORE_FUZZ_CORES
the core is kept in that folder, so that a seed is the same case again.
"""

import atexit
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from traceback import format_exception_only

import attrs
from tests.fuzzing import cores
from tests.fuzzing.cases import Case
from tests.fuzzing.readers import Finding

from gencore.analysis import Memory, find_python
from gencore.analysis.heap.pools import find_pools
from gencore.analysis.heap.type_objects import find_types
from gencore.analysis.interpreter.words import Words
from gencore.bundle import BundleReader, extract
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

PROGRAM = Path(__file__).with_name("process.py")
QUESTIONS = {
    "stacks": ("locals",),
    "locks": (),
    "tasks": (),
    "heap": ("10", "retained"),
    "why": (),
}
"""The modules of `gencore.analysis.answers`, and what they are given."""
TIMES_CPU, TIMES_MEMORY = 10, 2
LEAST_CPU = 1.0
"""Seconds that any case may take, in which a busy machine is not noticed."""
FIXED_MEMORY = 64 << 20
"""Bytes of tables whose size does not depend on the core."""
WALL = 300
"""Seconds after which a process is taken to hang."""
HEADERS = 1 << 16
"""Bytes in which the tables of the core begin."""
MOST_ADDRESSES = 1 << 29
"""Bytes of address space beside those of the core, after which a process has no memory."""
HEADERS_TOO, READ_PLACES, TRUNCATED = 0.15, 0.7, 0.05
"""Shares: of the cases, of the words, of the cases."""


def _ask(question, python, core):
    answer = import_module(f"gencore.analysis.answers.{question}").answer
    return answer(python, core, *QUESTIONS[question])


class Noting(Memory):
    """Memory that notes where it is read."""

    def __init__(self, memory):
        super().__init__(memory.pieces)
        self.addresses = set()

    def word(self, address):
        self.addresses.add(address)
        return super().word(address)

    def read(self, address, size):
        self.addresses.update(range(address, address + min(size, 512), 8))
        return super().read(address, size)


@attrs.frozen
class Cost:
    """What reading a case took: CPU time in seconds, bytes of memory more than before."""

    seconds: float
    memory: int


@attrs.frozen
class Original:
    """The undamaged core, a copy to damage, and what reading takes."""

    core: Path
    copy: Path
    read_at: tuple[int, ...]
    """Offsets in the file of words that are read."""
    cost: Cost


def make(seed):
    """Return the case of a seed: what is damaged follows from that and the core."""
    return Case(seed, "core", PROGRAM.name, b"")


def check(case):
    """Read a damaged core; return what the readers said. Raises `Finding`."""
    original = _original()
    _damage(random.Random(case.seed), original)
    said, cost = _read(original.copy, original.core.parent)
    if cost.seconds > max(LEAST_CPU, TIMES_CPU * original.cost.seconds):
        raise Finding(f"{cost.seconds:.1f} s of CPU time; {original.cost.seconds:.1f} s undamaged")
    if cost.memory > FIXED_MEMORY + TIMES_MEMORY * original.core.stat().st_size:
        raise Finding(f"{cost.memory >> 20:,} MiB of memory")
    return said


@cache
def _original():
    folder = os.environ.get("GENCORE_FUZZ_CORES")
    top = Path(folder or tempfile.mkdtemp(prefix="gencore-fuzz-cores-"))
    if folder is None:
        atexit.register(shutil.rmtree, top)
    core = top / "unpacked" / "core"
    if not core.exists():
        command = [sys.executable, PROGRAM, top]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        with BundleReader(told.strip()) as bundle:
            extract(bundle, top).rename(core.parent)
    said, cost = _read(core, core.parent)
    assert all(text.endswith("read") for text in said), said
    return Original(core, top / "damaged", _read_places(core), cost)


def _read_places(path):
    """Return the offsets of words that are read of an undamaged core."""
    with CoreFile(path) as core:
        memory = Noting(Memory.of_core(core, path, path.parent))
        python = find_python(memory, core)
        for question in ("stacks", "locks", "tasks"):
            _ask(question, python, core)
        words = Words(memory)
        heads = [*find_pools(words).addresses.tolist()] * 4
        types = find_types(python, words, words.writable()).addresses.tolist()
        found = [*memory.addresses, *(at + 8 * n for at in heads for n in range(6))]
        found += (at + 8 * n for at in types for n in (0, 1, 3, 4, 5, 21, 32, 33))
        size = path.stat().st_size
        pieces = ((at, memory.piece_at(at)) for at in found)
        places = (
            at - piece.start + piece.offset for at, piece in pieces if piece and piece.writable
        )
        return tuple(place for place in places if place <= size - 8)


def _damage(rng, original):
    """Write the damaged copy."""
    shutil.copyfile(original.core, original.copy)
    size = original.core.stat().st_size
    with original.copy.open("r+b") as file:
        if rng.random() < HEADERS_TOO:
            head = file.read(HEADERS)
            for at, width in rng.choices(cores.fields(head), k=rng.choice((1, 1, 3, 10))):
                file.seek(at)
                file.write(_word(rng, original)[:width])
        for _ in range(rng.choice((0, 1, 1, 5, 30, 300, 3000))):
            often = rng.random() < READ_PLACES
            file.seek(rng.choice(original.read_at) if often else rng.randrange(size // 8) * 8)
            file.write(_word(rng, original))
        if rng.random() < TRUNCATED:
            file.truncate(rng.randrange(size))


def _word(rng, original):
    """Return a word: any, small, nearly the largest, or another one of the core."""
    kind = rng.randrange(5)
    if kind == 0:
        number = rng.getrandbits(64)
    elif kind == 1:
        number = rng.randrange(1 << rng.choice((1, 4, 12, 20, 33)))
    elif kind == 2:
        number = (1 << rng.choice((31, 32, 63, 64))) - 1 - rng.randrange(64)
    else:
        with original.core.open("rb") as file:
            file.seek(rng.choice(original.read_at))
            number = int.from_bytes(file.read(8), "little") + rng.choice((0, 0, 0, 8, -16, 1))
    return struct.pack("<Q", number % (1 << 64))


def _read(path, libraries):
    """Return what the readers say, and what that costs. Raises `Finding`."""
    ours, its = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _answer(path, libraries, its)
    os.close(its)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    if status or not told:
        how = signal.Signals(status & 0x7F).name if status & 0x7F else f"status {status >> 8}"
        raise Finding(f"it ended with {how}")
    said = json.loads(told)
    if faults := [text for text in said if text.startswith("!")]:
        raise Finding("; ".join(faults))
    cost = Cost(usage.ru_utime + usage.ru_stime, max(0, usage.ru_maxrss - before) << 10)
    return said, cost


def _answer(path, libraries, pipe):
    """Read in this process, which ends then."""
    signal.alarm(WALL)
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    most = used + MOST_ADDRESSES + 4 * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    said = []
    for name in QUESTIONS:
        try:
            with CoreFile(path) as core:
                memory = Memory.of_core(core, path, libraries)
                json.dumps(_ask(name, find_python(memory, core), core))
            said.append(f"{name}: read")
        except IntegrityError as error:
            said.append(f"{name}: {error.message}")
        except BaseException as error:
            said.append(f"!{name}: {''.join(format_exception_only(error))}")
    os.write(pipe, json.dumps(said).encode())
    os._exit(0)
