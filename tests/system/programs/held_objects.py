"""Keep objects in every way that Python has; dump; leak some; dump again; print what holds which.

held_objects.py DIRECTORY

Each `Held` is kept alive by one reference; it is told under its address, with the expression that
leads to it. For some objects it is told which others the collector says refer to them.
"""

import collections
import functools
import gc
import inspect
import json
import os
import sys
import threading
import types
import weakref

import gencore

LEAKED = 5000
ROWS = 2000

app = types.ModuleType("app")
sys.modules["app"] = app
ways = {}


class Held:
    __slots__ = ("__weakref__",)


class Leak:
    def __init__(self, number):
        self.number = number + (1 << 40)


class Order:
    pass


class Slotted:
    __slots__ = ("other", "payload")


class SubDict(dict):
    pass


class SubTuple(tuple):  # noqa: SLOT001 - with a dictionary
    pass


class SubInt(int):
    pass


class Node:
    def __init__(self):
        self.other = None


def held(way):
    made = Held()
    ways[id(made)] = way
    return made


def order(way, **attributes):
    made = Order()
    vars(made) if attributes.pop("with_dict", None) else None
    made.number, made.payload = 1, held(f"{way}.payload")
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def slotted(way):
    made = Slotted()
    made.payload = held(f"{way}.payload")
    return made


def with_extra(made, way):
    made.extra = held(f"{way}.extra")
    return made


def key():
    made = Held()
    ways[id(made)] = f"module app: KEPT['keys']<key <__main__.Held at {id(made):#x}>>"
    return made


def closure(way):
    value = held(f"{way}.__closure__[0].cell_contents")
    default, named = held(f"{way}.__defaults__[0]"), held(f"{way}.__kwdefaults__['_named']")

    def function(_other=default, *, _named=named):
        return value

    return function


def generate(way):
    variable = held(f"{way}.gi_frame.f_locals['variable']")
    yield variable


def finished(way):
    generator = generate(way)
    for _ in generator:
        pass
    return generator


async def wait(way):
    variable = held(f"{way}.cr_frame.f_locals['variable']")
    await pause()
    return variable


@types.coroutine
def pause():
    yield


def started(made):
    made.send(None) if hasattr(made, "send") else None
    return made


def raised(way):
    try:
        fail(held(f"{way}.__traceback__.tb_next.tb_frame.f_locals['local']"))
    except ValueError as error:
        return error.with_traceback(error.__traceback__)


def fail(local):
    raise ValueError(id(local))


def kept():
    at = "module app: KEPT"
    generator, coroutine = generate(f"{at}['generator']"), wait(f"{at}['coroutine']")
    with_key = order(f"{at}['named']", with_dict=True)
    vars(with_key)["no name"] = held(f"{at}['named'].__dict__['no name']")
    return {
        "list": [0, held(f"{at}['list'][1]")],
        "tuple": (1, (2, held(f"{at}['tuple'][1][1]"))),
        3: {"x": held(f"{at}[3]['x']")},
        "set": {held(f"{at}['set']<element>")},
        "frozenset": frozenset([held(f"{at}['frozenset']<element>")]),
        "deque": collections.deque([*range(200), held(f"{at}['deque'][200]")]),
        "keys": {key(): 1},
        "order": order(f"{at}['order']"),
        "seen": order(f"{at}['seen']", with_dict=True),
        "named": with_key,
        "slotted": slotted(f"{at}['slotted']"),
        "sub-dict": with_extra(SubDict(z=held(f"{at}['sub-dict']['z']")), f"{at}['sub-dict']"),
        "sub-tuple": with_extra(SubTuple([held(f"{at}['sub-tuple'][0]")]), f"{at}['sub-tuple']"),
        "sub-int": with_extra(SubInt(5 << 70), f"{at}['sub-int']"),
        "function": closure(f"{at}['function']"),
        "partial": functools.partial(print, held(f"{at}['partial'].args[0]")),
        "method": types.MethodType(print, held(f"{at}['method'].__self__")),
        "property": property(held(f"{at}['property'].fget")),
        "generator": started(iter(generator)),
        "coroutine": started(coroutine),
        "ordered": collections.OrderedDict(a=held(f"{at}['ordered']['a']")),
        "default": collections.defaultdict(list, a=[held(f"{at}['default']['a'][0]")]),
        "counter": collections.Counter({"a": held(f"{at}['counter']['a']")}),
        "error": ValueError(held(f"{at}['error'].args[0]")),
        "raised": raised(f"{at}['raised']"),
        "class": type("Made", (), {"ATTRIBUTE": held(f"{at}['class'].ATTRIBUTE")}),
    }


def tree():
    """Return a dictionary of objects that only it keeps alive, and the bytes of all of these."""
    made = {f"key {n}": [float(n), f"text {n}", n + (1 << 40), (n + 0.5,)] for n in range(ROWS)}
    size = sys.getsizeof(made)
    for name, row in made.items():
        parts = [name, row, *row, row[3][0]]
        size += sum(map(sys.getsizeof, parts))
    return made, size


def work(ready, over):
    variable = held(f"thread {threading.get_native_id()}, work(): variable")
    nested = [held(f"thread {threading.get_native_id()}, work(): nested[0]")]
    ready.set()
    over.wait()
    return variable, nested


def referrers(things):
    """Return the addresses of what the collector says refers to each, but for frames."""
    return {id(thing): sorted(map(id, gc.get_referrers(thing))) for thing in things}


def targets():
    yield from app.KEPT.values()
    yield from (app.KEPT, app.TREE, held, json.dumps, threading.Thread.run)
    yield from app.TREE["key 7"]
    yield from filter(inspect.isfunction, list(vars(collections).values()))


app.KEPT = kept()
app.TREE, size_of_tree = tree()
app.WEAK = weakref.ref(app.KEPT["order"])
app.LEAKS = {}
ready, over = threading.Event(), threading.Event()
thread = threading.Thread(target=work, args=(ready, over), daemon=True)
thread.start()
ready.wait()
gencore.collect_core(directory=sys.argv[1], content="stacks").unlink()
gc.collect()
gc.disable()
first, second = Node(), Node()
first.other, second.other = second, first
cycle = [id(first), id(second)]
del first, second
things = [thing for thing in targets() if gc.is_tracked(thing)]
told = {
    "ways": ways,
    "referrers": referrers(things),
    "not ours": id(things),
    "cycle": cycle,
    "tree": [id(app.TREE), size_of_tree],
    "leaked": LEAKED,
    "version": sys.version_info[:3],
}
del things
told["before"] = str(gencore.collect_core(directory=sys.argv[1], content="private"))
app.LEAKS.update((number, Leak(number)) for number in range(LEAKED))
told["after"] = str(gencore.collect_core(directory=sys.argv[1], content="private"))
print(json.dumps(told), flush=True)
os._exit(0)  # nothing is to be freed
