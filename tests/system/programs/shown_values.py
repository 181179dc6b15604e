"""Make one object of each kind, dump, print how Python itself shows each, and what it has.

shown_values.py DIRECTORY
"""

import asyncio
import collections
import datetime as dt
import enum
import functools
import gc
import json
import os
import sys
import types
import typing

import gencore


class Plain:
    def __init__(self):
        self.a, self.b = 1, "x"

    def method(self):
        return self


class Slotted:
    __slots__ = ("__hidden", "first", "unset")

    def __init__(self):
        self.first, self.__hidden = 1, 2


class SlottedChild(Slotted):
    __slots__ = ("second",)

    def __init__(self):
        super().__init__()
        self.second = 3


class SlotsAndDict(Slotted):
    def __init__(self):
        super().__init__()
        self.third = 4


class SubDict(dict):
    pass


class SubList(list):
    pass


class SubTuple(tuple):  # noqa: SLOT001 - with a dictionary
    pass


class SubInt(int):
    pass


class SubText(str):  # noqa: SLOT000 - with a dictionary
    pass


class SubSet(set):
    pass


class Meta(type):
    pass


class WithMeta(metaclass=Meta):
    pass


class Color(enum.Enum):
    RED = 1


class OwnError(Exception):
    pass


class Outer:
    class _Inner:
        pass


class Point(typing.NamedTuple):
    x: int
    y: str


def function():
    yield


async def coroutine():
    await asyncio.sleep(0)


async def generator():
    yield


def with_attribute(thing, name="extra", value=7):
    setattr(thing, name, value)
    return thing


def of_many(count):
    thing = Plain()
    for index in range(count):
        setattr(thing, f"attribute_{index}", index)
    return thing


def with_asked_dict():
    thing = Plain()
    vars(thing)
    thing.c = 2.5
    return thing


def with_replaced_dict():
    thing = Plain()
    thing.__dict__ = {"c": 3, 5: "not a name"}
    return thing


def with_deleted():
    thing = Plain()
    del thing.a
    return thing


def in_itself(container):
    container.append(container)
    return container


def holding_itself():
    mapping = {}
    mapping["it"] = mapping
    return mapping


PLAIN = {
    "none": None,
    "true": True,
    "false": False,
    "ellipsis": ...,
    "not implemented": NotImplemented,
    "zero": 0,
    "small": 42,
    "negative": -7,
    "one digit": 2**30 - 1,
    "two digits": -(2**30),
    "large": 3**300,
    "float": 1.5e-300,
    "infinite": float("-inf"),
    "complex": complex(-0.0, 2.5),
    "ascii": "plain 'quoted' \"text\"\n",
    "latin": "gr\xf6\xdfe",
    "greek": "\u03b1\u03b2\u03b3",
    "emoji": "\U0001f40d",
    "empty": "",
    "bytes": b"\x00\xff bytes",
    "bytearray": bytearray(b"array"),
    "list": [1, "two", 3.0, None],
    "tuple": (1, (2, (3,))),
    "no list": [],
    "no tuple": (),
    "no dict": {},
    "no set": set(),
    "no frozenset": frozenset(),
    "dict": {"a": 1, "b": [2]},
    "any keys": {1: "a", (2, 3): "b", None: 4},
    "list in itself": in_itself([1]),
    "dict in itself": holding_itself(),
    "one in a set": {5},
    "one in a frozenset": frozenset({"x"}),
    "deque": collections.deque(range(3)),
    "bounded deque": collections.deque("abc", maxlen=5),
    "type": int,
    "class": Outer._Inner,
    "class of a metaclass": WithMeta,
    "static with a module": types.SimpleNamespace,
    "function": function,
    "lambda": lambda: 0,
    "built-in function": len,
    "built-in method": [].append,
    "code": function.__code__,
    "generator": function(),
    "coroutine": coroutine(),
    "asynchronous generator": generator(),
    "error": ValueError("what", 3),
    "own error": OwnError("it"),
    "date": dt.date(2026, 11, 26),
    "time": dt.time(23, 5, 59, 70_001),
    "moment": dt.datetime(2026, 11, 26, 23, 5, 0, 999_999),  # noqa: DTZ001 - a naive one
    "difference": dt.timedelta(days=-1, microseconds=3),
}
"""As their own ``repr`` shows them."""

by_index = collections.deque(range(500))
by_index.rotate(77)
shrunk = {number: str(number) for number in range(1000)}
for number in range(0, 1000, 3):
    del shrunk[number]
popped = set(range(1000))
for number in range(0, 1000, 3):
    popped.discard(number)
CONTAINERS = {
    "long list": list(range(2000)),
    "long deque": by_index,
    "shrunk dict": shrunk,
    "shrunk set": popped,
    "sub dict": SubDict(a=1, b=2),
    "sub list": SubList("ab"),
    "sub tuple": SubTuple("abc"),
    "sub set": SubSet("ab"),
    "ordered": collections.OrderedDict(a=1, b=2),
    "default": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("hello"),
    "named tuple": Point(1, 2),
    "dict of an object": with_asked_dict().__dict__,
}

OBJECTS = {
    "plain": Plain(),
    "another attribute": with_attribute(Plain()),
    "deleted": with_deleted(),
    "asked for its dict": with_asked_dict(),
    "given a dict": with_replaced_dict(),
    "many attributes": of_many(100),
    "slots and dict": SlotsAndDict(),
    "sub dict": with_attribute(SubDict(a=1)),
    "sub list": with_attribute(SubList("ab")),
    "sub tuple": with_attribute(SubTuple("abc")),
    "long sub tuple": with_attribute(SubTuple(range(77))),
    "sub int": with_attribute(SubInt(5)),
    "large sub int": with_attribute(SubInt(-(7**200))),
    "sub text": with_attribute(SubText("text")),
    "sub set": with_attribute(SubSet("a")),
    "error": with_attribute(OwnError("it")),
    "function": with_attribute(function),
    "namespace": types.SimpleNamespace(a=1, b=[]),
    "partial": with_attribute(functools.partial(len, [1])),
    "module": types.ModuleType("made"),
    "member": Color.RED,
    "class": Plain,
}
"""What has a dictionary."""


def generating(argument):
    local = argument * 2
    yield local


suspended = generating("a")
next(suspended)


def failing(argument):
    inner = [argument]
    raise ValueError(inner)


try:
    failing("b")
except ValueError as error:
    failed = error.__traceback__.tb_next.tb_frame


def enclosing():
    shared = [1]
    return lambda: shared


cell = enclosing().__closure__[0]

SLOTTED = {"slotted": Slotted(), "slotted child": SlottedChild(), "slots and dict": SlotsAndDict()}

NAMES = {
    "plain": Plain(),
    "inner": Outer._Inner(),
    "counter": collections.Counter(),
    "deque": collections.deque(),
    "number": 5,
    "with a metaclass": WithMeta,
}


def slots_of(thing):
    names = [name for kind in type(thing).__mro__ for name in vars(kind).get("__slots__", ())]
    mangled = ["_Slotted" + name if name.startswith("__") else name for name in names]
    return {name: id(getattr(thing, name)) for name in mangled if hasattr(thing, name)}


def items_of(thing):
    if isinstance(thing, dict):
        return [[id(key), id(value)] for key, value in dict.items(thing)]
    return [[None, id(value)] for value in thing]


EXACT = {"nested": Plain(), "sub": SubList([1, 2]), "number": SubInt(5), "point": Point(1, "y")}
EXACT["nested"].b = [EXACT["nested"], Slotted()]
EXACT["attribute"] = with_attribute(SubInt(5))
EXACT["method"] = EXACT["nested"].method
EXACT["deep"] = [[[[1]], {"k": {}}]]
EXACT["huge"] = 1 << 10_000
EXACT["module"] = json
EXACT["aware"] = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
EXACT["long"] = "x" * 10_000

count = sum(type(thing) is Plain for thing in gc.get_objects())
bundle = gencore.collect_core(directory=sys.argv[1])
told = {
    "bundle": str(bundle),
    "plain": {name: [id(thing), repr(thing)] for name, thing in PLAIN.items()},
    "containers": {name: [id(thing), items_of(thing)] for name, thing in CONTAINERS.items()},
    "objects": {
        name: [id(thing), {str(key): id(value) for key, value in vars(thing).items()}]
        for name, thing in OBJECTS.items()
    },
    "slotted": {
        **{name: [id(thing), slots_of(thing)] for name, thing in SLOTTED.items()},
        "cell": [id(cell), {"cell_contents": id(cell.cell_contents)}],
    },
    "sizes": {
        name: sys.getsizeof(thing)
        for things in (PLAIN, CONTAINERS, OBJECTS)
        for name, thing in things.items()
    },
    "of_type": count,
    "frames": {
        "generator": [id(suspended), {"argument": "'a'", "local": "'aa'"}],
        "frame": [id(failed), {"argument": "'b'", "inner": "['b']"}],
    },
    "names": {
        name: [id(thing), f"{type(thing).__module__}.{type(thing).__qualname__}"]
        for name, thing in NAMES.items()
    },
    "exact": {name: id(thing) for name, thing in EXACT.items()},
}
print(json.dumps(told), flush=True)
os._exit(0)  # without a warning of the coroutine that was never awaited
