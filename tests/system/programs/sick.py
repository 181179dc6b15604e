"""Run a program in which something is wrong, dump it, and print the bundle.

sick.py KIND DIRECTORY
"""

import asyncio
import os
import queue
import resource
import sys
import threading
import time
from pathlib import Path

import gencore


def dump():
    """Dump, and print the bundle."""
    directory = sys.argv[2]
    bundle = gencore.collect_core(directory=directory, content="private", sources=True)
    print(bundle, flush=True)


def start(name, function, *arguments):
    """Start a thread that does not keep the process alive, and return it."""
    thread = threading.Thread(target=function, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


def wait_until_blocked(*threads):
    """Wait until each thread waits in a system call without a time limit, for a lock that is."""
    while not all(map(is_blocked, threads)):
        time.sleep(0.01)


def is_blocked(thread):
    """Whether it is in futex(2) without a time limit: for the GIL it waits with one."""
    number, *arguments = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()
    return number == "202" and int(arguments[3], 16) == 0


def deadlock():
    """Two threads that take two locks in a different order, and others that wait for these."""
    orders, stock = threading.Lock(), threading.Lock()
    both_have_one, inside = threading.Barrier(2), queue.Queue()

    def reserve(first, second):
        with first:
            both_have_one.wait()
            inside.put("")
            with second:
                pass

    threads = (start("reserve", reserve, orders, stock), start("return", reserve, stock, orders))
    for _ in threads:
        inside.get()
    wait_until_blocked(*threads)
    dump()


def blocked_loop():
    """A coroutine that waits without await."""
    entered = queue.Queue()

    async def ask_the_database():
        entered.put("")
        queue.Queue().get()

    thread = start("serves", asyncio.run, ask_the_database())
    entered.get()
    wait_until_blocked(thread)
    dump()


def stuck_tasks():
    """A thousand tasks that wait for a lock whose owner waits for an answer."""
    started = queue.Queue()

    async def serve():
        lock, answer = asyncio.Lock(), asyncio.Event()

        async def ask():
            async with lock:
                await answer.wait()

        async def handle():
            async with lock:
                pass

        owner = asyncio.create_task(ask(), name="owner")
        await asyncio.sleep(0)
        tasks = [owner, *(asyncio.create_task(handle()) for _ in range(1000))]
        await asyncio.sleep(0)
        started.put("")
        await asyncio.gather(*tasks)

    start("serves", asyncio.run, serve())
    started.get()
    dump()


class Order:
    """What is kept of each order."""

    def __init__(self, number):
        self.number = number
        self.text = f"order {number} " * 150


class Shop:
    """Has a cache from which nothing is ever removed."""

    def __init__(self):
        self.cache = {}


def leak():
    """A dictionary that holds nearly all of the memory."""
    for number in range(25_000):
        shop.cache[number] = Order(number)
    dump()


shop = Shop()


def descriptors():
    """Nearly all files that may be open are open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    for _ in range(83):
        os.dup(0)
    dump()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
