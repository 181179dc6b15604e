"""Fill the heap with objects of many types, print how many there are of each and their size.

counted_objects.py DIRECTORY CONTENT [COUNT]

The objects are all that the collector tracks and all that these lead to, but for static data of
the interpreter and of libraries, which is in the memory of files. What the collector is not shown
is asked for: what code objects, descriptors and types have, the names in dictionaries, the bytes
of a bytearray. A child dumps this process, which makes no object between the count and the dump.
"""

import array
import bisect
import collections
import ctypes
import gc
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import gencore

COUNT = int(sys.argv[3]) if sys.argv[3:] else 4000
ADDRESSES = array.array("Q")
"""Words that something has of objects that may be dead, as an allocator has."""
HIDDEN = ("consts", "names", "linetable", "exceptiontable", "filename", "name", "qualname")
"""Of code objects, which the collector does not look into."""
DESCRIPTORS = (
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
"""What has a name that the collector does not look into either, as types have."""
MANAGED_DICT, HEAP_TYPE, HAS_GC = 1 << 4, 1 << 9, 1 << 14
"""Of a type's flags."""
OF_VARIABLES = (96, 104)
"""Where code objects have the names and kinds of local variables, which Python code does not
get."""
SLOTS_OF_TYPE = {(3, 11): 856, (3, 15): 872}.get(sys.version_info[:2], 864)
"""Where a type has the tuple of its ``__slots__``."""
BYTES_OF_BYTEARRAY = 56
"""Where a bytearray has its bytes since 3.15."""
DICT_IN_FRONT = -24
"""Where an object has its dictionary since 3.13, which is not shown if the values are inside."""


class Order:
    def __init__(self, number):
        self.number, self.name = number, f"order-{number}"
        self.price, self.lines = number * 1.5, [number, number + 1]


class WithDict:
    def __init__(self, number):
        self.__dict__["number"] = number


class Slotted:
    __slots__ = ("number", "text")

    def __init__(self, number):
        self.number, self.text = number + 1_000_000, b"x" * (number % 700)


class Slotted_And_Weak:  # noqa: N801 - found by its very name
    __slots__ = ("__weakref__",)


class Meta(type):
    pass


class WithMeta(metaclass=Meta):
    pass


class SubDict(dict):
    pass


class SubList(list):
    pass


class SubTuple(tuple):  # noqa: SLOT001 - with a dictionary
    pass


class SubInt(int):
    pass


class SubStr(str):  # noqa: SLOT000 - with a dictionary
    pass


class SubBytes(bytes):
    pass


class Failure(Exception):
    pass


def generate(number):
    yield number
    yield number


def grow(number):
    """Return a text that was moved when it was resized; what it left behind has references."""
    text = "y" * (600 + number)
    ADDRESSES.append(id(text))
    text += "z" * 2000
    return text


NAMES = ("Page[Order]", "a b", "", "tab\tx", "line\nx", "'quote', comma", "b\\s", "\U0001f600")
"""That are no identifiers, as those of generic models of pydantic."""
ODD = [type(name, (), {"__slots__": ("number",)}) for name in NAMES]


async def await_nothing(number):
    return number


KINDS = {
    "orders": Order,
    "with-dict": WithDict,
    "slotted": Slotted,
    "weak": lambda _: Slotted_And_Weak(),
    "dicts": lambda n: {f"k{n % 50}": n, "v": [n]},
    "large-dicts": lambda n: dict.fromkeys(range(n % 300)),
    "tuples": lambda n: (n, str(n), None),
    "sets": lambda n: set(range(n % 40)),
    "frozensets": lambda n: frozenset(range(n % 9)),
    "bytes": lambda n: os.urandom(n % 3000),
    "bytearrays": lambda n: bytearray(300 + n % 1000),
    "grown": grow,
    "ascii": lambda n: "x" * (n % 900),
    "two-byte": lambda n: "\u0436" * (n % 300),
    "four-byte": lambda n: "\U0001f600" * (n % 300 + 1),
    "floats": lambda n: n * 0.5,
    "ints": lambda n: 10 ** (n % 700),
    "complex": lambda n: complex(n, 1),
    "deques": lambda n: collections.deque(range(n % 200)),
    "ordered": lambda n: collections.OrderedDict.fromkeys(range(n % 30)),
    "arrays": lambda n: array.array("d", range(n % 100)),
    "functions": lambda n: lambda x, n=n: x + n,
    "generators": generate,
    "coroutines": await_nothing,
    "meta": lambda _: WithMeta(),
    "sub-dicts": lambda n: SubDict(a=n),
    "sub-lists": lambda n: SubList(range(n % 20)),
    "sub-tuples": lambda n: SubTuple(range(n % 20)),
    "sub-ints": lambda n: SubInt(n + (1 << 40)),
    "sub-texts": lambda n: SubStr("s" * (n % 50)),
    "sub-bytes": lambda n: SubBytes(b"s" * (n % 50)),
    "failures": lambda n: Failure(n, "text"),
    **{f"odd-{n}": lambda _, kind=kind: kind() for n, kind in enumerate(ODD)},
    "modules": lambda n: types.ModuleType(f"module{n}") if n < 50 else None,
}


def fill():
    kept = {name: [make(number) for number in range(COUNT)] for name, make in KINDS.items()}
    for generator in kept["generators"][::2]:
        next(generator)
    for thing in kept["with-dict"][::3]:
        vars(thing)["more"] = thing.number
    kept["classes"] = [
        type(f"Class{n}", (), {"__slots__": ("a", "b")[: n % 3]}) for n in range(50)
    ]
    kept["text of dicts"] = [str(number) for number in range(COUNT)]
    junk = [Order(number) for number in range(COUNT)]  # freed again: the pools have holes
    kept["every other one"] = junk[1::2]
    freed = [[Slotted(n), [n] * (n % 30), {n: n}, "t" * (n % 90)] for n in range(COUNT)]
    kept["raw memory that was objects"] = [[None] * (len(row) % 60) for row in freed]
    return kept


def count():
    """Return {name of a type: [number, bytes, whether the collector tracks such]}."""
    gc.collect()
    gc.disable()
    seen = set()
    things = gc.get_objects()
    seen.update([id(seen), id(things)])  # they count neither themselves nor what they have
    things = unseen(things, seen)
    seen.update(map(id, things))
    todo = list(things)
    while todo:
        new = unseen(referents(todo.pop()), seen)
        seen.update(map(id, new))
        things += new
        todo += new
    rows = collections.defaultdict(lambda: [0, 0, False])
    ranges = ranges_of_files()
    for thing in things:
        row_of_file = bisect.bisect(ranges, (id(thing), 1 << 64)) - 1
        if row_of_file >= 0 and id(thing) < ranges[row_of_file][1]:
            continue
        if isinstance(thing, type) and not thing.__flags__ & HEAP_TYPE:
            continue  # static, in memory that has no file because it began as zeros
        row = rows[name_of(type(thing))]
        row[0] += 1
        row[1] += sys.getsizeof(thing)
        row[2] |= bool(type(thing).__flags__ & HAS_GC)
    return rows


def unseen(things, seen):
    """Return each of the things that was not seen.

    In 3.11 a comprehension has what it uses in a cell of its function, which would be counted.
    """
    return list({id(thing): thing for thing in things if id(thing) not in seen}.values())


def referents(thing):
    """Return what an object leads to."""
    inside = gc.get_referents(thing)
    if isinstance(thing, types.CodeType):
        inside += [getattr(thing, f"co_{name}") for name in HIDDEN]
        inside += [at(thing, offset) for offset in OF_VARIABLES]
    elif isinstance(thing, DESCRIPTORS):
        inside.append(thing.__name__)
    elif isinstance(thing, dict):
        inside += dict.keys(thing)
    elif isinstance(thing, bytearray) and sys.version_info >= (3, 15):
        inside.append(at(thing, BYTES_OF_BYTEARRAY))
    elif isinstance(thing, type):
        inside += [thing.__mro__, thing.__bases__, *gc.get_referents(thing.__dict__)]
        if thing.__flags__ & HEAP_TYPE:
            inside += [type.__dict__[name].__get__(thing) for name in ("__name__", "__qualname__")]
            inside.append(at(thing, SLOTS_OF_TYPE))
    if type(thing).__flags__ & MANAGED_DICT and sys.version_info >= (3, 13):
        inside.append(at(thing, DICT_IN_FRONT))
    return inside


def at(thing, offset):
    """Return the object whose address a thing has; None if it has none."""
    address = ctypes.c_size_t.from_address(id(thing) + offset).value
    return ctypes.cast(address, ctypes.py_object).value if address else None


def ranges_of_files():
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [tuple(int(n, 16) for n in line.split()[0].split("-")) for line in lines if "/" in line]


def name_of(kind):
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def start_dumper():
    """Start a child that dumps this process when its standard input is closed."""
    dump = ["-m", "gencore", "dump", "--quiet", "--output", sys.argv[1], "--content", sys.argv[2]]
    command = [sys.executable, *dump, str(os.getpid())]
    waiting = ["sh", "-c", 'read line; exec "$@"', "sh", *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(waiting, stdin=pipe, stdout=pipe, bufsize=0)


def write_count(path):
    """Write what is counted where it is no object."""
    rows = count()
    tracked = {name for name, row in rows.items() if row.pop()}
    largest = max(sys.getsizeof(thing) for thing in gc.get_objects() if type(thing) is dict)
    told = {"types": rows, "tracked": [*tracked], "largest dict": largest}
    path.write_text(json.dumps(told))


kept = fill()
gencore.arm()
dumper = start_dumper()
counted = Path(sys.argv[1], "counted.json")
write_count(counted)
dumper.stdin.close()
told = {
    "bundle": dumper.stdout.read().decode().strip(),
    "version": sys.version_info[:3],
    **json.loads(counted.read_text()),
}
print(json.dumps(told), flush=True)
os._exit(dumper.wait())  # nothing is to be freed
