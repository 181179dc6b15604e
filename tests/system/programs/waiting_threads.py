"""Have threads wait in every way that threading and queue offer, dump, print what each waits for.

waiting_threads.py DIRECTORY CONTENT

Printed are the bundle, and for each thread, by its name: the kind and the address of what it waits
for, the name of the thread that holds that, how that is known, and the function that waits. A
spinner waits for the GIL, unless it has just lost it.
"""

import ctypes
import importlib
import json
import os
import queue
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory

import gencore

FUTEX = "202"
expected = {}
waiting = []


class Jobs(queue.LifoQueue):
    """A queue of the program's own."""


def start(name, function, *arguments, told=None):
    thread = threading.Thread(target=function, args=arguments, name=name, daemon=True)
    thread.start()
    waiting.append(thread)
    if told is not None:
        expected[name] = told
    return thread


def with_(lock, entered):
    with lock:
        entered.set()
        time.sleep(3600)


def wait_in(condition, timeout=None):
    with condition:
        condition.wait(timeout)


def held(name, thing):
    """Start a thread that is in a block of *thing*."""
    entered = threading.Event()
    start(name, with_, thing, entered)
    entered.wait()
    return thing


def taken_until(event, lock):
    """Start a thread that has a lock until an event, and ends then."""
    has_it = threading.Event()

    def take():
        lock.acquire()
        has_it.set()
        event.wait()

    thread = threading.Thread(target=take)
    thread.start()
    has_it.wait()
    return thread


def locks():
    lock = held("lock-owner", threading.Lock())
    start("lock", lock.acquire, told=["Lock", id(lock), "lock-owner", "with", None])
    rlock = held("rlock-owner", threading.RLock())
    start("rlock", rlock.acquire, told=["RLock", id(rlock), "rlock-owner", "record", None])
    guarded = held("guard-owner", threading.Condition(threading.Lock()))
    told = ["Lock", id(guarded._lock), "guard-owner", "with", None]
    start("guarded", wait_in, guarded, told=told)
    rejoined()


def owners_that_have_ended():
    """Last of all: who begins later could get the identity of a thread that has ended."""
    gone, mutex, ends = threading.RLock(), threading.Lock(), threading.Event()
    holders = [taken_until(ends, lock) for lock in (gone, mutex)]
    start("gone", gone.acquire, told=["RLock", id(gone), None, "record", None])
    start("unknown", mutex.acquire, told=["Lock", id(mutex), None, None, None])
    ends.set()
    for holder in holders:
        holder.join()


def rejoined():
    """A thread that was notified waits for the Condition's Lock, which is held again."""
    condition, ready = threading.Condition(threading.Lock()), threading.Event()

    def wait():
        with condition:
            ready.set()
            condition.wait()

    thread = start("notified", wait)
    ready.wait()
    entered = threading.Event()

    def notify():
        with condition:
            condition.notify()
            entered.set()
            time.sleep(3600)

    while not condition._waiters:
        time.sleep(0.01)
    start("notifier", notify)
    entered.wait()
    expected[thread.name] = ["Lock", id(condition._lock), "notifier", "with", None]


def built_on_locks():
    condition = threading.Condition()
    start(
        "condition",
        wait_in,
        condition,
        told=["Condition", id(condition), None, None, "Condition.wait"],
    )
    start(
        "timed",
        wait_in,
        condition,
        3600,
        told=["Condition", id(condition), None, None, "Condition.wait"],
    )
    event = threading.Event()
    start("event", event.wait, told=["Event", id(event), None, None, "Event.wait"])
    semaphore = threading.BoundedSemaphore(1)
    semaphore.acquire()
    told = ["Semaphore", id(semaphore), None, None, "Semaphore.acquire"]
    start("semaphore", semaphore.acquire, told=told)
    barrier = threading.Barrier(2)
    start("barrier", barrier.wait, told=["Barrier", id(barrier), None, None, "Barrier.wait"])
    future = Future()
    start("future", future.result, told=["Future", id(future), None, None, "Future.result"])
    joined = start(
        "joins",
        waiting[0].join,
        told=["Thread", id(waiting[0]), waiting[0].name, "record", "Thread.join"],
    )
    start(
        "joins-timed",
        joined.join,
        3600,
        told=["Thread", id(joined), "joins", "record", "Thread.join"],
    )


def queues():
    jobs, simple, full = Jobs(), queue.SimpleQueue(), queue.Queue(1)
    full.put(1)
    start("get", jobs.get, told=["Queue", id(jobs), None, None, "Queue.get"])
    start("simple", simple.get, told=["Queue", id(simple), None, None, None])
    start("put", full.put, 2, told=["Queue", id(full), None, None, "Queue.put"])
    start("all-done", full.join, told=["Queue", id(full), None, None, "Queue.join"])


def imports():
    """Two threads import a module; one of them executes it."""
    folder = TemporaryDirectory()
    sys.path.insert(0, folder.name)
    threading.begun = threading.Event()
    source = "import threading, time\nthreading.begun.set()\ntime.sleep(3600)\n"
    Path(folder.name, "slow_module.py").write_text(source, "ascii")
    start("importer", importlib.import_module, "slow_module")
    threading.begun.wait()
    lock = importlib._bootstrap._module_locks["slow_module"]()
    told = ["module lock", id(lock), "importer", "record", "_ModuleLock.acquire"]
    start("imports", importlib.import_module, "slow_module", told=told)
    return folder


def spin(goes, left):
    """Ask for the GIL, which the dump has."""
    goes.wait()
    left.pop()
    while True:
        pass


def is_waiting(thread):
    """Whether it sleeps, or waits for what is not the GIL: on a semaphore that counts waiters."""
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text("ascii").split()
    if call[0] != FUTEX:
        return call[0] == "230"  # clock_nanosleep
    return ctypes.c_uint64.from_address(int(call[1], 16)).value == 1 << 32


locks()
built_on_locks()
queues()
folder, goes, left = imports(), threading.Event(), ["a", "b", "c"]
for name in left:
    start(f"spinner-{name}", spin, goes, left)
owners_that_have_ended()
while not all(map(is_waiting, waiting)):
    time.sleep(0.01)
goes.set()
while left:
    time.sleep(0.01)
bundle = gencore.collect_core(directory=sys.argv[1], content=sys.argv[2])
tids = {thread.name: thread.native_id for thread in waiting} | {"main": os.getpid()}
print(json.dumps({"bundle": str(bundle), "threads": tids, "waits": expected}), flush=True)
folder.cleanup()
os._exit(0)  # the threads never end
