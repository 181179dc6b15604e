"""Park threads in all kinds of Python functions, record their stacks, dump, print the record.

recorded_stacks.py DIRECTORY CONTENT
"""

import asyncio
import json
import os
import sys
import threading
import time

import gencore

parked = threading.Event()


class Nested:
    class _Inner:
        def method(self):
            return [parked.wait() for _ in range(1)]


def in_recursion(depth=200):
    if depth:
        return in_recursion(depth - 1)
    return parked.wait()


def in_generator():
    def generate():
        yield from (parked.wait() for _ in range(1))

    return list(generate())


def in_coroutine():
    async def inner():
        parked.wait()

    async def outer():
        await inner()

    asyncio.run(outer())


def in_lambda():
    return max([1], key=lambda _: parked.wait())


def in_several_lines():
    return sum(
        [
            1,
            parked.wait(),
        ]
    )


def in_compiled_code():
    exec(compile("\n" * 400 + "wait()", "<made up>", "exec"), {"wait": parked.wait})


def in_class_body():
    class _Body:
        attribute = parked.wait()


def in_another_alphabet():
    exec(compile("def größe_名(): wait()\ngröße_名()", "файл.py", "exec"), {"wait": parked.wait})


def in_method():
    Nested._Inner().method()


def is_parked(thread):
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code.co_qualname == "Condition.wait"


def stack_of(frame):
    while frame is not None:
        code = frame.f_code
        yield [code.co_qualname, code.co_filename, frame.f_lineno]
        frame = frame.f_back


functions = [value for name, value in list(globals().items()) if name.startswith("in_")]
threads = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in functions]
for thread in threads:
    thread.start()
while not all(map(is_parked, threads)):
    time.sleep(0.01)
frames = sys._current_frames()
record = {thread.native_id: list(stack_of(frames[thread.ident])) for thread in threads}
del frames
bundle = gencore.collect_core(directory=sys.argv[1], content=sys.argv[2])
told = {"bundle": str(bundle), "stacks": record, "main": threading.get_native_id()}
print(json.dumps(told), flush=True)
os._exit(0)  # the threads never end
