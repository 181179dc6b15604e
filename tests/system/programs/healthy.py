"""Run a program in which all is well, dump it while it works, and print the bundle.

healthy.py KIND DIRECTORY
"""

import asyncio
import multiprocessing
import queue
import socket
import socketserver
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import gencore


def dump():
    """Dump, and print the bundle."""
    print(gencore.collect_core(directory=sys.argv[2], content="private"), flush=True)


def start(function, *arguments):
    """Start a thread that does not keep the process alive."""
    threading.Thread(target=function, args=arguments, daemon=True).start()


def dump_beside():
    """Dump on another thread, and wait for it."""
    dumping = threading.Thread(target=dump)
    dumping.start()
    dumping.join()


def idle():
    """A main thread that waits, and nothing else."""
    dump_beside()


def thread_pool():
    """Workers that have nothing to do, and some that compute."""
    over = threading.Event()

    def compute():
        while not over.is_set():
            sum(range(1000))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(str, range(100)))
        for _ in range(3):
            pool.submit(compute)
        dump()
        over.set()


def producers_and_consumers():
    """Queues that are full, and queues that are empty."""
    full, empty = queue.Queue(2), queue.Queue()
    for _ in range(3):
        start(lambda: [full.put(number) for number in range(10)])
        start(empty.get)
    while not full.full():
        time.sleep(0.001)
    dump()


def contended_lock():
    """Threads of which always one has the lock that all others want."""
    lock, count = threading.Lock(), [0]

    def work():
        while True:
            with lock:
                count[0] += 1

    for _ in range(4):
        start(work)
    while count[0] < 1000:
        time.sleep(0.001)
    dump()


def timed_waits():
    """Threads that wait with a time limit, and threads that sleep."""
    condition = threading.Condition()

    def wait():
        with condition:
            condition.wait(1000)

    for _ in range(3):
        start(wait)
        start(time.sleep, 1000)
    dump()


def nested_locks():
    """Two locks, which all take in the same order."""
    outer, inner, inside = threading.RLock(), threading.Lock(), threading.Event()

    def work():
        with outer, inner:
            inside.set()
            threading.Event().wait()

    for _ in range(3):
        start(work)
    inside.wait()
    dump()


def echo_server():
    """An event loop with connections of which most are silent, and one talks all the time."""

    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)

    async def serve(ready):
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        ready.put(server.sockets[0].getsockname())
        await server.serve_forever()

    ready = queue.Queue()
    start(asyncio.run, serve(ready))
    address = ready.get()
    talking, *_silent = [socket.create_connection(address) for _ in range(20)]
    heard = threading.Event()

    def talk():
        with talking.makefile("rw") as file:
            while True:
                print("hello", file=file, flush=True)
                file.readline()
                heard.set()

    start(talk)
    heard.wait()
    dump()


def threaded_server():
    """A server of sockets with a thread for each connection, as servers of WSGI have."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    start(server.serve_forever)
    for _ in range(5):
        connection = socket.create_connection(server.server_address)
        connection.sendall(b"hello\n")
        connection.recv(6)
    dump()


def process_pool():
    """The parent of a pool of processes."""
    with multiprocessing.Pool(2) as pool:
        pool.map(abs, range(100))
        dump()


def numpy_job():
    """Large arrays, and a computation outside of the GIL."""
    import numpy as np

    data, once = np.random.default_rng(1).random((1 << 12, 1 << 12)), threading.Event()

    def compute():
        while True:
            np.sort(data[:64].copy())
            once.set()

    start(compute)
    once.wait()
    dump()


class Held:
    """A request that is answered when it may be: not before the dump."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()

    def work(self, number):
        """Hold the request number 7."""
        if number == 7:
            self.begun.set()
            self.may_end.wait()


def ask(port):
    """Have a request answered, and dump while another one is not."""
    place = f"http://127.0.0.1:{port}/orders"
    urllib.request.urlopen(f"{place}/1?token=secret").read()
    if "request" in sys.argv[1]:
        start(lambda: urllib.request.urlopen(f"{place}/7?token=secret").read())
        held.begun.wait()
    dump()


held = Held()


def django():
    """A server of WSGI."""
    from wsgiref.simple_server import make_server

    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    def view(_, number):
        held.work(number)
        return HttpResponse("hello")

    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="0")
    globals()["urlpatterns"] = [path("orders/<int:number>", view)]
    server = make_server("127.0.0.1", 0, get_wsgi_application())
    start(server.serve_forever)
    ask(server.server_port)


def fastapi():
    """A server of ASGI, whose function for requests is on a thread, as it is no coroutine."""
    import uvicorn
    from fastapi import FastAPI

    def view(number: int):
        held.work(number)
        return "hello"

    app = FastAPI()
    app.get("/orders/{number}")(view)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", loop="asyncio"))
    start(server.run, [listening])
    ask(listening.getsockname()[1])


django_request, fastapi_request = django, fastapi

if __name__ == "__main__":
    globals()[sys.argv[1]]()
