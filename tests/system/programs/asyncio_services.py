"""Run an asyncio service, dump it from another thread, print the bundle.

asyncio_services.py DIRECTORY stuck|healthy
"""

import asyncio
import os
import sys
import threading

import gencore

REQUESTS = 1000
settled = threading.Event()


async def reserve(lock, answers):
    async with lock:
        await answers.get()


async def request(lock, answers):
    await asyncio.wait_for(reserve(lock, answers), 3600)


async def stuck():
    """Have one request hold the lock that all others need, and wait for an answer."""
    lock, answers = asyncio.Lock(), asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        for _ in range(REQUESTS):
            group.create_task(request(lock, answers))
        await asyncio.sleep(0.2)
        settled.set()


async def produce(queue):
    while True:
        await queue.put(1)


async def consume(queue, lock):
    while True:
        await queue.get()
        async with lock:
            await asyncio.sleep(0.001)


async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(b"hello\n")
        await reader.readline()
        await asyncio.sleep(0.01)


async def supervise(tasks):
    while tasks:
        _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def healthy():
    """Have all go on: a queue, a lock that many use, a server and its clients, a supervisor."""
    queue, lock = asyncio.Queue(2), asyncio.Lock()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, settled.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(consume(queue, lock)) for _ in range(5)]
        tasks += [group.create_task(produce(queue)) for _ in range(2)]
        tasks += [group.create_task(ask(port)) for _ in range(3)]
        group.create_task(supervise(tasks))
        group.create_task(server.serve_forever())


def dump(directory):
    settled.wait()
    print(gencore.collect_core(directory=directory, content="private"), flush=True)
    os._exit(0)


threading.Thread(target=dump, args=sys.argv[1:2]).start()
asyncio.run({"stuck": stuck, "healthy": healthy}[sys.argv[2]]())
