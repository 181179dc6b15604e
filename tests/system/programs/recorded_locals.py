"""Park threads whose frames have variables of every kind, record these, dump, print the record.

recorded_locals.py DIRECTORY
"""

import json
import os
import sys
import threading
import time

import gencore

parked = threading.Event()


class Thing:
    def __init__(self):
        self.size = 3

    def in_method(self, argument, *rest, keyword="k", **others):
        local = [argument, 1.5]
        parked.wait()
        return local, rest, keyword, others


def in_arguments():
    Thing().in_method("a", 2, None, keyword="w", other=(1, "t"))


def in_cells(shared="s"):
    inner = {"k": b"bytes"}

    def nested(own):
        parked.wait()
        return shared, inner, own

    return nested(7)


def in_class_body():
    outer = 5

    class _Body:
        attribute = outer, "text"
        waiting = parked.wait()


def in_unset():
    gone = 1
    del gone
    kept = -(2**70)
    if parked.wait():
        later = [kept]
        later.append(parked)
    return kept


def in_generator():
    def generate(limit):
        for index in range(limit):
            parked.wait()
            yield index

    return list(generate(2))


def in_comprehension():
    numbers = [3]
    return [number + parked.wait() for number in numbers]


def in_recursion(depth=50):
    text = f"depth {depth}"
    if depth:
        return in_recursion(depth - 1)
    parked.wait()
    return text


def is_parked(thread):
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code.co_qualname == "Condition.wait"


def shown(value):
    """Return the repr of what has the same one wherever it is, or else None."""
    plain = (int, float, str, bytes, list, tuple, dict, set, type(None))
    return repr(value) if type(value) in plain else None


def variables_of(frame):
    """Yield the functions of this file that a thread is in, and their variables."""
    while frame is not None:
        if frame.f_code.co_filename == __file__ and frame.f_code.co_name != "<module>":
            values = {
                name: [f"{id(value):#x}", shown(value)] for name, value in frame.f_locals.items()
            }
            yield [frame.f_code.co_qualname, values]
        frame = frame.f_back


functions = [value for name, value in list(globals().items()) if name.startswith("in_")]
threads = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in functions]
for thread in threads:
    thread.start()
while not all(map(is_parked, threads)):
    time.sleep(0.01)
frames = sys._current_frames()
record = {thread.native_id: list(variables_of(frames[thread.ident])) for thread in threads}
del frames
bundle = gencore.collect_core(directory=sys.argv[1])
told = {"bundle": str(bundle), "locals": record, "file": __file__}
print(json.dumps(told), flush=True)
os._exit(0)  # the threads never end
