"""Have asyncio tasks wait for all kinds of things, dump, print what each task is known to do.

recorded_tasks.py DIRECTORY CONTENT

The record of a task has its state, its coroutines' frames, outermost first, the names of tasks
that it waits for, and in which function of asyncio.
"""

import asyncio
import gc
import json
import os
import socket
import sys
import threading
from asyncio.tasks import _PyTask
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import gencore

FOREVER = 3600
PREFIXES = ("cr_", "gi_", "ag_")
WRAPPERS = ("async_generator_asend", "coroutine_wrapper", "anext_awaitable")
"""What is awaited through these Python does not show."""
parked = threading.Event()
keep = []
"""Nothing else refers to a task that waits for what nothing else refers to."""
loops = {}
"""The tid of the thread that runs each, by its address."""
expected = {}
"""By name of the task: what it waits for, in which function, in what way."""


def expect(name, *, awaits=(), function=None, state="waiting", through=None):
    expected[name] = {
        "awaits": sorted(awaits),
        "function": function,
        "state": state,
        "through": through,
    }


def start(coroutine, name, **what):
    expect(name, **what)
    keep.append(asyncio.create_task(coroutine, name=name))
    return keep[-1]


def sleeper(name):
    return start(leaf(), name, function="sleep")


async def leaf():
    await asyncio.sleep(FOREVER)


async def middle():
    await leaf()


async def generate():
    await asyncio.sleep(FOREVER)
    yield 1


async def iterate():
    async for _ in generate():
        pass


async def advance():
    await anext(generate(), None)


class Awaitable:
    def __await__(self):
        for _ in range(1):
            yield from asyncio.sleep(FOREVER).__await__()


async def await_object():
    await Awaitable()


class Entered:
    async def __aenter__(self):
        await asyncio.sleep(
            FOREVER,
        )

    async def __aexit__(self, *_):
        pass


async def enter():
    async with Entered():
        pass


async def wait_for_task(task):
    await task


def chains():
    """Coroutines in each other, of all kinds."""
    start(middle(), "chain", function="sleep")
    start(iterate(), "async-for", function="sleep")
    start(advance(), "anext", function="sleep")
    start(await_object(), "object", function="sleep")
    start(enter(), "async-with", function="sleep")
    expect("python", function="sleep")
    keep.append(_PyTask(leaf(), loop=asyncio.get_running_loop(), name="python"))
    start(leaf(), "größe \U0001f600", function="sleep")


async def gathering(*tasks):
    await asyncio.gather(*tasks)


async def gather_twice(*tasks):
    await asyncio.gather(asyncio.gather(*tasks[:1]), asyncio.gather(*tasks[1:]))


async def in_group(names):
    async with asyncio.TaskGroup() as group:
        for name in names:
            expect(name, function="sleep")
            keep.append(group.create_task(leaf(), name=name))


async def in_body_of_group(name):
    async with asyncio.TaskGroup() as group:
        expect(name, function="sleep")
        keep.append(group.create_task(leaf(), name=name))
        await asyncio.sleep(FOREVER)


async def waiting(*tasks):
    await asyncio.wait(tasks)


async def with_limit(task):
    await asyncio.wait_for(task, FOREVER)


async def shielded(task):
    await asyncio.shield(task)


async def as_completed(*tasks):
    for first in asyncio.as_completed(tasks):
        await first


def trees():
    """Tasks that wait for others."""
    names = [f"child-{number}" for number in range(13)]
    child = [sleeper(name) for name in names]
    start(wait_for_task(child[0]), "parent", awaits=names[:1])
    start(wait_for_task(child[0]), "second-parent", awaits=names[:1])
    start(gathering(*child[1:4]), "gather", awaits=names[1:4], through="gather")
    start(gather_twice(*child[4:6]), "nested-gather", awaits=names[4:6], through="gather")
    start(waiting(*child[6:8]), "wait", awaits=names[6:8], through="wait", function="wait")
    through = "wait_for" if sys.version_info < (3, 12) else None
    start(with_limit(child[8]), "limit", awaits=names[8:9], through=through, function="wait_for")
    start(shielded(child[9]), "shield", awaits=names[9:10], through="shield")
    start(as_completed(*child[10:12]), "as-completed", awaits=names[10:12], through="as_completed")
    group = ["grouped-0", "grouped-1"]
    start(in_group(group), "group", awaits=group, through="TaskGroup")
    start(in_body_of_group("beside"), "body", awaits=["beside"], through="TaskGroup")
    expected["group"]["function"] = "TaskGroup.__aexit__"
    expected["body"]["function"] = "sleep"
    iterator = "as_completed.<locals>" if sys.version_info < (3, 13) else "_AsCompletedIterator"
    expected["as-completed"]["function"] = f"{iterator}._wait_for_one"


def cycles():
    """Tasks that wait for each other, and one that only waits for them."""
    tasks = {}
    tasks["cycle-0"] = start(wait_for(tasks, "cycle-1"), "cycle-0", awaits=["cycle-1"])
    tasks["cycle-1"] = start(wait_for(tasks, "cycle-0"), "cycle-1", awaits=["cycle-0"])
    start(wait_for(tasks, "cycle-0"), "outside", awaits=["cycle-0"])


async def wait_for(tasks, name):
    await tasks[name]


async def hold(lock, entered):
    async with lock:
        entered.set()
        await asyncio.sleep(FOREVER)


async def enter_lock(lock):
    async with lock:
        pass


async def cross(mine, others, both):
    async with mine:
        await both()
        async with others:
            pass


async def use_condition(condition):
    async with condition:
        await condition.wait()


async def read_stream(reader):
    await reader.readline()


async def receive(sock):
    await asyncio.get_running_loop().sock_recv(sock, 1)


async def in_executor(pool):
    await asyncio.get_running_loop().run_in_executor(pool, parked.wait)


async def primitives():
    """All that asyncio offers to wait for."""
    lock, entered, both = asyncio.Lock(), asyncio.Event(), asyncio.Event()
    start(hold(lock, entered), "holder", function="sleep")
    await entered.wait()
    start(enter_lock(lock), "locked", awaits=["holder"], function="Lock.acquire", through="Lock")

    async def meet():
        met.append(1)
        if len(met) == 2:
            both.set()
        await both.wait()

    met, first, second = [], asyncio.Lock(), asyncio.Lock()
    for name, other, *locks in (("ab", "ba", first, second), ("ba", "ab", second, first)):
        task = cross(*locks, meet)
        start(task, name, awaits=[other], function="Lock.acquire", through="Lock")
    semaphore, in_pool = asyncio.BoundedSemaphore(2), ["pool-0", "pool-1"]
    for name in in_pool:
        entered = asyncio.Event()
        start(hold(semaphore, entered), name, function="sleep")
        await entered.wait()
    what = {"awaits": in_pool, "function": "Semaphore.acquire", "through": "Semaphore"}
    start(enter_lock(semaphore), "pooled", **what)
    start(asyncio.Event().wait(), "event", function="Event.wait")
    start(asyncio.Queue().get(), "get", function="Queue.get")
    own = asyncio.Queue()
    own._transport = own  # as what is around a transport has the inner one
    start(own.get(), "own transport", function="Queue.get")
    full = asyncio.Queue(1)
    full.put_nowait(1)
    start(full.put(2), "put", function="Queue.put")
    start(full.join(), "join", function="Queue.join")
    start(asyncio.Semaphore(0).acquire(), "semaphore", function="Semaphore.acquire")
    start(use_condition(asyncio.Condition()), "condition", function="Condition.wait")
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    start(read_stream(reader), "stream", function="StreamReader.readline")
    sockets = socket.socketpair()
    sockets[0].settimeout(0)
    start(receive(sockets[0]), "socket", function="BaseSelectorEventLoop.sock_recv")
    pool = ThreadPoolExecutor(1)
    start(in_executor(pool), "executor", function="run_in_executor")
    start(in_executor(pool), "executor-queue", function="run_in_executor")
    future = asyncio.get_running_loop().create_future()
    start(wait_for_task(future), "future")
    keep.extend([there, writer, *sockets, pool, future])


async def stubborn():
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(FOREVER)


async def yielding():
    for _ in iter(int, 1):
        await asyncio.sleep(0)


async def fail():
    raise LookupError("of the test")


async def done():
    return 1


async def ends():
    """Tasks that have ended, or are about to."""
    start(fail(), "failed", state="failed")
    start(done(), "finished", state="finished")
    cancelled = start(leaf(), "cancelled", state="cancelled")
    for task in cancelled, start(stubborn(), "stubborn", function="sleep"):
        await asyncio.sleep(0)
        task.cancel()


def note_loop():
    loops[id(asyncio.get_running_loop())] = threading.get_native_id()


async def other_loop(ready):
    start(leaf(), "other-sleeper", function="sleep")
    expect("other-main", function="Event.wait")
    keep.append(asyncio.current_task())
    keep[-1].set_name("other-main")
    note_loop()
    asyncio.get_running_loop().call_later(0.05, ready.set)
    await asyncio.Event().wait()


def frames_of(coroutine):
    """Follow a coroutine to what it awaits, and so on: return their frames, outermost first."""
    frames = []
    while coroutine is not None:
        names = [name for name in dir(coroutine) if name[:3] in PREFIXES]
        shown = {name[3:]: getattr(coroutine, name) for name in names}
        if frame := shown.get("frame"):
            frames.append([frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno])
        following = shown.get("await", shown.get("yieldfrom"))
        if type(coroutine).__name__ in WRAPPERS:
            following = gc.get_referents(coroutine)[0]
        coroutine = following
    return frames


async def main(directory, content):
    asyncio.current_task().set_name("main")
    note_loop()
    expect("main", state="running")
    ready = threading.Event()
    threading.Thread(target=asyncio.run, args=(other_loop(ready),), daemon=True).start()
    ready.wait()
    chains()
    trees()
    cycles()
    await primitives()
    await ends()
    if sys.version_info >= (3, 12):
        expect("eager", function="sleep")
        loop = asyncio.get_running_loop()
        keep.append(asyncio.Task(leaf(), loop=loop, name="eager", eager_start=True))
    future = asyncio.get_running_loop().create_future()
    start(wait_for_task(future), "ready", state="ready")
    for _ in range(10):
        await asyncio.sleep(0)
    start(yielding(), "yielding", state="ready")
    await asyncio.sleep(0)
    start(leaf(), "new", state="not started")
    future.set_result(None)
    tasks = [asyncio.current_task(), *(thing for thing in keep if hasattr(thing, "get_name"))]
    for task in tasks:
        row = expected[task.get_name()]
        row["frames"] = [] if task.done() else frames_of(task.get_coro())
    bundle = gencore.collect_core(directory=directory, content=content)
    print(json.dumps({"bundle": str(bundle), "tasks": expected, "loops": loops}), flush=True)
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
