"""Run a thread in each kind of waiting and working, dump the process, print what was dumped.

every_thread.py BACKEND DIRECTORY EXTENSION [CONTENT [MIB]]

Where DIRECTORY is "-", the core goes to standard output, and what was dumped to standard error.
Where CONTENT names a collector that packs, a bundle is made of the full content.

Every thread is in code that has symbols: not in libffi, and not in OpenSSL's assembler, in which
no debugger can name a frame.
"""

import hashlib
import importlib.util
import json
import os
import queue
import select
import socket
import sys
import threading
import time

import gencore

backend, directory, extension, *rest = sys.argv[1:]
content = rest[0] if rest else "full"
heap = [os.urandom(1 << 20) for _ in range(int(rest[1]))] if rest[1:] else []
spec = importlib.util.spec_from_file_location("blocking", extension)
blocking = importlib.util.module_from_spec(spec)
sys.setswitchinterval(1e-4)  # or in_loop would keep the GIL for 5 ms whenever it has it
held = threading.Lock()
held.acquire()
quiet, _peer = socket.socketpair()
pipe, _writer = os.pipe()


def in_sleep():
    time.sleep(1000)


def in_queue():
    queue.Queue().get()


def in_recv():
    quiet.recv(1)


def in_timed_lock():
    held.acquire(timeout=1000)


def in_poll():
    select.poll().poll(1_000_000)


def in_extension():
    blocking.wait_in_extension(pipe)


def in_hash():
    data = bytes(16 << 20)
    while True:
        hashlib.blake2b(data).digest()  # CPython's own


def in_loop():
    count = 0
    while True:
        count += 1


def is_there(thread, functions):
    """Whether a thread has come to the function that it is named after."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and frame.f_code.co_name not in functions:
        frame = frame.f_back
    return frame is not None


functions = (
    in_sleep, in_queue, in_recv, in_timed_lock, in_poll, in_extension, in_hash, in_loop
)  # fmt: skip
threads = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in functions]
for thread in threads:
    thread.start()
while not all(is_there(thread, [thread.name]) for thread in threads):
    time.sleep(0.01)
core = None
if directory == "-":
    report = gencore.start(
        backend=backend, collectors=["raw"], destination="descriptor", content=content
    ).result()
    if report.result != "complete":
        sys.exit(str(report.problems))
elif content.startswith("archive"):
    packed = {"collectors": ["manifest", content]}
    core = gencore.collect_core(backend=backend, directory=directory, **packed)
else:
    core = gencore.create_core(backend=backend, directory=directory, content=content)
rows = {thread.name: thread.native_id for thread in threads}
told = {"core": str(core), "threads": rows, "main": threading.get_native_id()}
print(json.dumps(told), file=sys.stdout if core else sys.stderr, flush=True)
os._exit(0)  # the threads never end
