"""Have threads wait for locks, dump, print the bundle and the locks' addresses by their names.

locked_threads.py DIRECTORY deadlocked|healthy CONTENT
"""

import ctypes
import importlib
import json
import os
import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gencore

FUTEX = "202"
lock_of = {}
"""By the name of the thread that waits for it."""
waiting = []


def start(name, function, *arguments, awaits=None):
    thread = threading.Thread(target=function, args=arguments, name=name, daemon=True)
    thread.start()
    waiting.append(thread)
    if awaits is not None:
        lock_of[name] = id(awaits)
    return thread


def enter_both(mine, others, both):
    with mine:
        both.wait()
        with others:
            pass


def cycle(name, *locks):
    """Start a thread for each lock, which has it and waits for the next one."""
    both = threading.Barrier(len(locks))
    for number, lock in enumerate(locks):
        other = locks[(number + 1) % len(locks)]
        real = getattr(other, "_lock", other)
        start(f"{name}-{number}", enter_both, lock, other, both, awaits=real)


def join_with(lock, thread, both):
    with lock:
        both.wait()
        thread.join()


def cycle_of_join():
    """joins-0 has the Lock that joins-1 waits for, and waits for the end of joins-1."""
    lock, both = threading.Lock(), threading.Barrier(2)
    second = threading.Thread(
        target=lambda: (both.wait(), enter(lock)), name="joins-1", daemon=True
    )
    second.start()
    start("joins-0", join_with, lock, second, both)
    waiting.append(second)
    lock_of["joins-1"] = id(lock)


def cycle_of_import():
    """imports-0 imports a module that waits for the end of imports-1, which imports it too."""
    module = "import __main__; __main__.import_it_too()"
    Path(sys.argv[1], "waits_for_its_importer.py").write_text(module)
    sys.path.append(sys.argv[1])
    start("imports-0", importlib.import_module, "waits_for_its_importer")


def import_it_too():
    start("imports-1", importlib.import_module, "waits_for_its_importer").join()


def acquire_both(mine, others, both, timeout):
    mine.acquire()
    both.wait()
    others.acquire(timeout=timeout)


def enter_and_acquire(mine, others, both, timeout):
    with mine:
        both.wait()
        others.acquire(timeout=timeout)


def of_two(name, function, timeout):
    """The same of two Locks, which are not entered but acquired."""
    one, other, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
    start(f"{name}-0", function, one, other, both, timeout, awaits=other)
    start(f"{name}-1", function, other, one, both, timeout, awaits=one)


def has_left():
    """left-0 has left the block of the Lock that left-1 waits for, and waits for left-1's."""
    left, mine, is_left = threading.Lock(), threading.Lock(), threading.Event()
    go = threading.Event()

    def first():
        with left:
            pass
        kept = [is_left, go, mine, left.__exit__]  # the stack has the last one from now on
        is_left.set()
        go.wait()
        mine.acquire()
        del kept

    def second():
        with mine:
            go.set()
            left.acquire()

    start("left-0", first, awaits=mine)
    is_left.wait()
    left.acquire()
    start("left-1", second, awaits=left)


def wait_in_condition():
    """condition-0 waits in the block of a Lock that its condition has released."""
    lock = threading.Lock()
    condition, waits = threading.Condition(lock), threading.Event()

    def wait():
        with lock:
            waits.set()
            condition.wait()

    def want():
        with lock:
            pass

    start("condition-0", wait)
    waits.wait()
    lock.acquire()
    start("condition-1", want, awaits=lock)


def release_and_sleep(lock, is_free):
    with lock:
        lock.release()
        is_free.set()
        time.sleep(3600)


def hand_over():
    """Two threads are in the block of the Lock that handed-2 waits for."""
    lock, is_free, has_it = threading.Lock(), threading.Event(), threading.Event()
    start("handed-0", release_and_sleep, lock, is_free)
    is_free.wait()
    start("handed-1", sleep_with, lock, has_it)
    has_it.wait()
    start("handed-2", enter, lock, awaits=lock)


def sleep_with(lock, has_it):
    with lock:
        has_it.set()
        time.sleep(3600)


def enter_and_wait_for_itself(lock):
    with lock:
        lock.acquire()


def enter_twice(lock):
    with lock:
        enter(lock)


def take_back(lock, is_free, go):
    """Release a Lock in its own block, and wait for it."""
    with lock:
        lock.release()
        is_free.set()
        go.wait()
        lock.acquire()


def take_by_hand():
    """back-0 waits for a Lock in its block, which has released it: nobody knows who has it."""
    lock, is_free, go = threading.Lock(), threading.Event(), threading.Event()
    start("back-0", take_back, lock, is_free, go, awaits=lock)
    is_free.wait()
    lock.acquire()
    go.set()


def give_identity_away(lock, heir):
    """The owner of a lock has ended, and *heir*, which knows nothing of it, has its identity."""
    gone = threading.Thread(target=lock.acquire)
    gone.start()
    gone.join()
    while start(heir, threading.Event().wait).ident != gone.ident:
        pass


def doubt():
    """Threads wait for locks that heirs do not have: an RLock, and that of a module."""
    lock, of_module = threading.RLock(), importlib._bootstrap._get_module_lock("never_imported")
    give_identity_away(lock, "heir")
    start("doubts", enter, lock, awaits=lock)
    give_identity_away(of_module, "importing heir")
    start("imports", importlib.import_module, "never_imported")


def enter(lock):
    with lock:
        pass


def deadlocked():
    cycle("locks", threading.Lock(), threading.Lock())
    cycle("rlocks", threading.RLock(), threading.RLock())
    cycle("three", threading.Lock(), threading.RLock(), threading.Lock())
    cycle("conditions", threading.Condition(), threading.Condition())
    guards = [threading.Condition(threading.Lock()) for _ in range(2)]
    cycle("guards", *guards)
    cycle_of_join()
    cycle_of_import()
    for name, function in (("itself", enter_and_wait_for_itself), ("twice", enter_twice)):
        own = threading.Lock()
        start(f"{name}-0", function, own, awaits=own)


def healthy():
    of_two("acquired", acquire_both, -1)
    of_two("timed", enter_and_acquire, 3600)
    has_left()
    wait_in_condition()
    hand_over()
    for name, lock in (("lock", threading.Lock()), ("rlock", threading.RLock())):
        has_it = threading.Event()
        start(f"{name}-sleeps", sleep_with, lock, has_it)
        has_it.wait()
        start(f"{name}-waits", enter, lock, awaits=lock)
    take_by_hand()
    doubt()
    start("event", threading.Event().wait)
    start("queue", queue.Queue().get)
    start("simple-queue", queue.SimpleQueue().get)
    start("joins", waiting[0].join)
    pool = ThreadPoolExecutor(2)
    for job in [pool.submit(int) for _ in range(2)]:
        job.result()


def is_waiting(thread):
    """Whether it sleeps, or waits for its lock; for the GIL it waits with a time limit."""
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text("ascii").split()
    if call[0] != FUTEX:
        return call[0] != "running"
    awaited = lock_of.get(thread.name)
    if awaited is None:
        return call[4] == "0x0"
    semaphore = int(call[1], 16)
    if sys.version_info >= (3, 14):  # on the thread's stack, behind the address of the mutex
        return ctypes.c_uint64.from_address(semaphore - 8).value == awaited + 16
    return semaphore == ctypes.c_uint64.from_address(awaited + 16).value


{"deadlocked": deadlocked, "healthy": healthy}[sys.argv[2]]()
while not all(map(is_waiting, waiting)):
    time.sleep(0.01)
bundle = gencore.collect_core(directory=sys.argv[1], content=sys.argv[3])
rows = {thread.name: thread.native_id for thread in waiting}
print(json.dumps({"bundle": str(bundle), "threads": rows, "locks": lock_of}), flush=True)
os._exit(0)  # the threads never end
