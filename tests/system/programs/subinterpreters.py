"""Dump from several sub-interpreters at the same time, each with a GIL of its own.

subinterpreters.py DIRECTORY COUNT

Each dumps on its own thread into DIRECTORY/NUMBER, as soon as all are ready. Prints the cores'
paths and the threads. Needs Python 3.14.
"""

import json
import os
import sys
import threading
from concurrent import interpreters
from pathlib import Path

CODE = """
import os, sys
sys.path[:] = {path!r}
import gencore
pipeline = gencore.Pipeline(collectors=["raw"], directory={directory!r})
os.write({ready}, b"r")
os.read({go}, 1)
with open({answer!r}, "w") as file:
    file.write(str(pipeline.run().path_of("raw")))
"""

top, count = Path(sys.argv[1]), int(sys.argv[2])
ready, tell_ready = os.pipe()
wait, go = os.pipe()
all_dumped = threading.Barrier(count)


def dump(number):
    directory = top / str(number)
    directory.mkdir()
    names = {"path": sys.path, "directory": str(directory), "ready": tell_ready, "go": wait}
    interpreter = interpreters.create()
    interpreter.exec(CODE.format(answer=str(top / f"{number}.txt"), **names))
    all_dumped.wait()
    interpreter.close()


threads = [threading.Thread(target=dump, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for _ in threads:
    os.read(ready, 1)
os.write(go, bytes(count))
for thread in threads:
    thread.join()
cores = [(top / f"{number}.txt").read_text() for number in range(count)]
print(json.dumps({"cores": cores, "threads": [thread.native_id for thread in threads]}))
