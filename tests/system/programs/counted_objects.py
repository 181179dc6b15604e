"""Fill the heap with objects of many types, dump, print how many there are of each and their size.

counted_objects.py DIRECTORY CONTENT [COUNT]

The objects are all that the collector tracks and all that these lead to, but for static data of
the interpreter and of libraries, which is in the memory of files. What code objects, descriptors
and types have is asked for, because the collector is not shown it. The first dump imports what a
dump imports.
"""

import array
import bisect
import collections
import ctypes
import gc
import json
import os
import sys
import types
from pathlib import Path

import gencore

COUNT = int(sys.argv[3]) if sys.argv[3:] else 4000
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
HEAP_TYPE, HAS_GC = 1 << 9, 1 << 14
"""Of a type's flags."""
OF_VARIABLES = (96, 104)
"""Where they have the names and kinds of local variables, which Python code does not get."""


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
    """Return {name of a type: [number, bytes]}."""
    gc.collect()
    gc.disable()
    seen = set()
    things = gc.get_objects()
    seen.update([id(seen), id(things)])  # they count neither themselves nor what they have
    things = [thing for thing in things if id(thing) not in seen]
    seen.update(map(id, things))
    todo = list(things)
    while todo:
        thing = todo.pop()
        inside = gc.get_referents(thing)
        if isinstance(thing, types.CodeType):
            inside += [getattr(thing, f"co_{name}") for name in HIDDEN]
            inside += [ctypes.py_object.from_address(id(thing) + at).value for at in OF_VARIABLES]
        elif isinstance(thing, DESCRIPTORS):
            inside.append(thing.__name__)
        elif isinstance(thing, type) and thing.__flags__ & HEAP_TYPE:
            inside += [type.__dict__[name].__get__(thing) for name in ("__name__", "__qualname__")]
        new = [other for other in inside if id(other) not in seen]
        new = list({id(other): other for other in new}.values())
        seen.update(map(id, new))
        things += new
        todo += new
    rows = collections.defaultdict(lambda: [0, 0])
    ranges = ranges_of_files()
    for thing in things:
        row_of_file = bisect.bisect(ranges, (id(thing), 1 << 64)) - 1
        if row_of_file >= 0 and id(thing) < ranges[row_of_file][1]:
            continue
        if type(thing).__flags__ & HAS_GC:
            tracked.add(name_of(type(thing)))
        row = rows[name_of(type(thing))]
        row[0] += 1
        row[1] += sys.getsizeof(thing)
    gc.enable()
    return rows


def ranges_of_files():
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [tuple(int(n, 16) for n in line.split()[0].split("-")) for line in lines if "/" in line]


def name_of(kind):
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


tracked = set()
kept = fill()
gencore.collect_core(directory=sys.argv[1], content="stacks").unlink()
rows = count()
bundle = gencore.collect_core(directory=sys.argv[1], content=sys.argv[2])
told = {
    "bundle": str(bundle),
    "types": rows,
    "version": sys.version_info[:3],
    "tracked": [*tracked],
}
print(json.dumps(told), flush=True)
os._exit(0)  # nothing is to be freed
