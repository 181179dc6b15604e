"""A process with some of everything that `gencore.analysis` reads: dump it, print the bundle.

process.py DIRECTORY
"""

import asyncio
import collections
import os
import queue
import sys
import threading
from pathlib import Path

import gencore

BLOCKED = ("202", "232", "281")
"""futex, epoll_wait, epoll_pwait."""


class Order:
    """One with attributes."""

    __slots__ = ("__dict__", "number")

    def __init__(self, number):
        self.number, self.name, self.lines = number, f"order {number}", [number, (number, None)]


def start(name, function, *arguments):
    """Start a thread that never ends."""
    thread = threading.Thread(target=function, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


def enter_both(mine, others, both):
    """Have one lock, and want the other."""
    with mine:
        both.wait()
        with others:
            pass


async def leaf(number):
    """Wait as long as the process lives."""
    orders = {number: Order(number)}
    await asyncio.sleep(3600)
    return orders


async def serve():
    """Have tasks that wait for each other, and for nothing that comes."""
    tasks = [asyncio.create_task(leaf(number), name=f"leaf {number}") for number in range(5)]
    await asyncio.gather(*tasks, asyncio.Queue().get(), asyncio.Event().wait())


def is_blocked(thread):
    """Whether a thread waits in the kernel."""
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text("ascii").split()[0]
    return call in BLOCKED


orders = [Order(number) for number in range(2000)]
kept = {
    "sets": [{1, "two", (3,)}, frozenset(range(50))],
    "deque": collections.deque(orders, maxlen=2000),
    "ordered": collections.OrderedDict((order.number, order) for order in orders[:100]),
    "large": [list(range(3000)), dict.fromkeys(range(3000)), "\u20ac" * 3000, b"b" * 3000],
    "functions": [lambda order=order: order.number for order in orders[:100]],
}
one, other, both = threading.Lock(), threading.RLock(), threading.Barrier(2)
threads = [
    start("one", enter_both, one, other, both),
    start("other", enter_both, other, one, both),
    start("queue", queue.Queue().get),
    start("condition", threading.Event().wait),
    start("loop", asyncio.run, serve()),
]
threads.append(start("joins", threads[0].join))
while not all(map(is_blocked, threads)):
    pass
print(gencore.collect_core(directory=sys.argv[1], content="private"), flush=True)
os._exit(0)
