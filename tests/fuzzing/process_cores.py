"""Reads a core of a real process with damaged words, and checks what that may do and cost.

Questions of `gencore.analysis.answers` are asked of each case, each in a process of its own, as
commands do. It may answer, or raise an `IntegrityError`; take ten times the CPU time of the
undamaged core, and memory of twice the core's size. Most of the damage is where a sound core is
read. With GENCORE_FUZZ_CORES the core is kept in that folder, so that a seed is the same case
again.
"""

import atexit
import gc
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
import warnings
from array import array
from functools import cache
from importlib import import_module
from pathlib import Path
from traceback import format_exception_only

import attrs
import numpy as np
from tests.fuzzing import cores
from tests.fuzzing.cases import Case
from tests.fuzzing.damaged_copy import DamagedCopy
from tests.fuzzing.readers import Finding

from gencore.analysis import Memory, find_python
from gencore.analysis.heap.pools import find_pools
from gencore.analysis.heap.type_objects import find_types
from gencore.analysis.interpreter.completeness import why_incomplete
from gencore.analysis.interpreter.words import Words
from gencore.bundle import BundleReader, extract
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

PROGRAM = Path(__file__).with_name("process.py")
QUESTIONS = {"stacks": ("locals",), "why": ()}
"""The modules of `gencore.analysis.answers`, and what they are given, that each case is asked."""
MORE_QUESTIONS = {
    "locks": (),
    "tasks": (),
    "heap": ("10", "retained"),
    "objects": ("Order", "largest", "10"),
    "inspect": ("ADDRESS", "30"),
    "referrers": ("ADDRESS", "10", "to root", "locals"),
}
"""One of them is asked of one case in `SELDOM`: ``why`` does most of what they do."""
SELDOM = 4
IMPORTED = ("graph.reachability", "heap.census", "asynchronous.task_frames")
"""What an answer imports when it is needed."""
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
OF_A_TYPE = (0, 1, 3, 4, 5, 21, 32, 33)
"""Words that say what its objects are like."""
OBJECTS = 32
"""Of so many objects the words of one are among those that are read."""
HEADERS_TOO, READ_PLACES, TRUNCATED = 0.15, 0.7, 0.05
"""Shares: of the cases, of the words, of the cases."""


def _ask(question, words, python, core):
    answer = import_module(f"gencore.analysis.answers.{question}").answer
    return answer(python, core, *words)


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
    """What an answer took: CPU time in seconds, bytes of memory more than before."""

    seconds: float
    memory: int


@attrs.frozen
class Original:
    """The undamaged core, a copy to damage, and what each question takes."""

    core: Path
    copy: DamagedCopy
    read_at: array
    """Offsets in the file of words that are read."""
    objects: tuple[int, ...]
    """Addresses of some."""
    head: bytes
    """What the core begins with."""
    costs: dict[str, Cost]


def make(seed):
    """Return the case of a seed: what is damaged follows from that and the core."""
    return Case(seed, "core", PROGRAM.name, b"")


def check(case):
    """Read a damaged core; return what the readers said. Raises `Finding`."""
    original, said = _original(), []
    rng = random.Random(case.seed)
    _damage(rng, original)
    for question, words in _questions(rng, original, case.seed):
        try:
            told, cost = _read(original.copy.path, original.core.parent, question, words)
            _compare(cost, original.costs[question], original.copy.size)
        except Finding as error:
            raise Finding(f"{question}: {error}") from None
        said.append(f"{question}: {told}")
    return said


def _questions(rng, original, seed):
    """Yield the questions that a case is asked."""
    yield from QUESTIONS.items()
    if seed % SELDOM == 0:
        question = [*MORE_QUESTIONS][seed // SELDOM % len(MORE_QUESTIONS)]
        address = str(rng.choice(original.objects))
        yield question, [address if w == "ADDRESS" else w for w in MORE_QUESTIONS[question]]


def _compare(cost, undamaged, size):
    """Raise `Finding` if an answer took more than it may."""
    if cost.seconds > max(LEAST_CPU, TIMES_CPU * undamaged.seconds):
        raise Finding(f"{cost.seconds:.1f} s of CPU time; {undamaged.seconds:.1f} s undamaged")
    if cost.memory > FIXED_MEMORY + TIMES_MEMORY * size:
        raise Finding(f"{cost.memory >> 20:,} MiB of memory")


@cache
def _original():
    folder = os.environ.get("GENCORE_FUZZ_CORES")
    top = Path(folder or tempfile.mkdtemp(prefix="gencore-fuzz-cores-"))
    if folder is None:
        atexit.register(shutil.rmtree, top)
    core, copy = top / "unpacked" / "core", top / f"damaged-{os.getpid()}"
    if not core.exists():
        command = [sys.executable, PROGRAM, top]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        with BundleReader(told.strip()) as bundle:
            extract(bundle, top).rename(core.parent)
    if folder is not None:
        atexit.register(copy.unlink, missing_ok=True)
    read_at, objects = array("Q"), array("Q")
    for path, into, find in (
        (top / "read_at", read_at, _read_places),
        (top / "objects", objects, _some_objects),
    ):
        if not path.exists():  # in a process of its own, so that this one stays small
            _in_child(lambda path=path, find=find: array("Q", find(core)).tofile(path.open("wb")))
        into.frombytes(path.read_bytes())
    with core.open("rb") as file:
        head = file.read(HEADERS)
    original = Original(core, DamagedCopy(core, copy), read_at, tuple(objects), head, {})
    _import_all()
    for question, words in (QUESTIONS | MORE_QUESTIONS).items():
        asked = [str(objects[0]) if word == "ADDRESS" else word for word in words]
        told, original.costs[question] = _read(core, core.parent, question, asked)
        assert told == "read", (question, told)
    return original


def _import_all():
    """Import what answers need, once for all the processes that answer."""
    for name in (*(f"answers.{name}" for name in QUESTIONS | MORE_QUESTIONS), *IMPORTED):
        import_module(f"gencore.analysis.{name}")
    np.unique(np.zeros(1))  # imports more of numpy
    gc.collect()
    gc.freeze()


def _read_places(path):
    """Return the offsets of words that are read of an undamaged core."""
    with CoreFile(path) as core:
        memory = Noting(Memory.of_core(core, path, path.parent))
        python = find_python(memory, core)
        for question in ("stacks", "locks", "tasks"):
            _ask(question, (QUESTIONS | MORE_QUESTIONS)[question], python, core)
        words = Words(memory)
        heads = [*find_pools(words).addresses.tolist()] * 4
        types = find_types(python, words, words.writable())
        found = [*memory.addresses, *(at + 8 * n for at in heads for n in range(6))]
        found += (at + 8 * n for at in types.addresses.tolist() for n in OF_A_TYPE)
        found += _in_objects(words, types)
        size = path.stat().st_size
        pieces = ((at, memory.piece_at(at)) for at in found)
        places = (
            at - piece.start + piece.offset for at, piece in pieces if piece and piece.writable
        )
        return [place for place in places if place <= size - 8]


def _in_objects(words, types):
    """Return the addresses of words of some objects, and of what they point to."""
    runs = words.writable()
    places = np.concatenate([at for run in runs for at, _ in types.within(run)])[::OBJECTS]
    first = (places - np.uint64(8))[:, None] + 8 * np.arange(7, dtype=np.uint64)
    there = words.at(first[:, 3:].reshape(-1))[0]
    behind = there[:, None] + 8 * np.arange(5, dtype=np.uint64)
    return [*first.reshape(-1).tolist(), *np.unique(behind).tolist()]


def _some_objects(path):
    """Return the addresses of objects of an undamaged core: large ones, and some of one type."""
    with CoreFile(path) as core:
        python = find_python(Memory.of_core(core, path, path.parent), core)
        large = _ask("heap", ("10",), python, core)["largest"]
        orders = _ask("objects", ("Order", "sample", "10"), python, core)["objects"]
        return [row["address"] for row in (*large, *orders)]


def _damage(rng, original):
    """Damage the copy, of which nothing is left of the last case."""
    copy, size = original.copy, original.copy.size
    copy.restore()
    if rng.random() < HEADERS_TOO:
        head = original.head
        for at, width in rng.choices(cores.fields(head), k=rng.choice((1, 1, 3, 10))):
            copy.write(at, _word(rng, original)[:width])
    for _ in range(rng.choice((0, 1, 1, 5, 30, 300, 3000))):
        often = rng.random() < READ_PLACES
        place = rng.choice(original.read_at) if often else rng.randrange(size // 8) * 8
        copy.write(place, _word(rng, original))
    if rng.random() < TRUNCATED:
        copy.truncate(rng.randrange(size))


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
        known = original.copy.word(rng.choice(original.read_at))
        number = int.from_bytes(known, "little") + rng.choice((0, 0, 0, 8, -16, 1))
    return struct.pack("<Q", number % (1 << 64))


def _read(path, libraries, question, words):
    """Return what the answer to a question is, and what it costs. Raises `Finding`."""
    ours, its = os.pipe()
    before = _memory()[1]
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _answer(path, libraries, question, words, its)
    os.close(its)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read().decode()
    _, status, usage = os.wait4(pid, 0)
    if status or not told:
        how = signal.Signals(status & 0x7F).name if status & 0x7F else f"status {status >> 8}"
        raise Finding(f"it ended with {how}")
    if told.startswith("!"):
        raise Finding(told[1:])
    most = usage.ru_maxrss << 10
    return told, Cost(usage.ru_utime + usage.ru_stime, max(0, most - before))


def _memory():
    """Return the bytes of this process: of all addresses, and in memory."""
    pages = Path("/proc/self/statm").read_text("ascii").split()
    return [int(number) * resource.getpagesize() for number in pages[:2]]


def _answer(path, libraries, question, words, pipe):
    """Read in this process, which ends then. A warning is an error: a command would print it."""
    signal.alarm(WALL)
    warnings.simplefilter("error")
    most = _memory()[0] + MOST_ADDRESSES + 4 * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        with CoreFile(path) as core:
            python = find_python(Memory.of_core(core, path, libraries), core)
            why_incomplete(python, core)
            json.dumps(_ask(question, words, python, core))
        said = "read"
    except IntegrityError as error:
        said = error.message
    except BaseException as error:
        said = f"!{''.join(format_exception_only(error)).strip()}"
    os.write(pipe, said.encode())
    os._exit(0)


def _in_child(function):
    """Call a function in a process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
