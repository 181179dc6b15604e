"""Dump while a sub-interpreter with a GIL of its own waits, which goes on and ends afterwards.

beside_subinterpreters.py DIRECTORY

Prints the results of a bundle and of a core of content "stacks".
"""

import os
import sys
import threading

import gencore

try:
    import _interpreters as interpreters

    run = interpreters.exec
except ImportError:  # before Python 3.13
    import _xxsubinterpreters as interpreters

    run = interpreters.run_string

CODE = """
import os

def wait(depth):
    if depth:
        return wait(depth - 1)
    os.write({ready}, b"r")
    os.read({go}, 1)

for _ in range({times}):
    wait(20)
"""

ready, tell_ready = os.pipe()
wait, go = os.pipe()
pipelines = [
    gencore.Pipeline(directory=sys.argv[1], collectors=["manifest", "archive"]),
    gencore.Pipeline(directory=sys.argv[1], collectors=["raw"], content="stacks"),
]
code = CODE.format(ready=tell_ready, go=wait, times=len(pipelines))
interpreter = interpreters.create()
thread = threading.Thread(target=run, args=(interpreter, code))
thread.start()
for pipeline in pipelines:
    os.read(ready, 1)
    print(pipeline.run().result, flush=True)
    os.write(go, b"g")
thread.join()
interpreters.destroy(interpreter)
