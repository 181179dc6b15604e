"""A process with threads and a heap that is dumped on request; other scripts start it.

    dumped_service.py MiB THREADS DIRECTORY

Prints one line when it is ready. Reads lines from standard input: "BACKEND CONTENT" makes a core
in DIRECTORY, "begin" forgets the ticks so far, "gap" asks for the longest time in which a thread
that ticks every millisecond did not. Prints one JSON object for each line; times are in seconds.
"""

import json
import sys
import threading
import time

from measuring import heap
from pause_by_threads import Waiting

import gencore

TICK = 0.001


class Heart:
    """Ticks, and remembers the longest gap between two ticks, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        last = time.perf_counter()
        while True:
            time.sleep(TICK)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            last = now


def answer(line: str, heart: Heart, directory: str) -> dict[str, object]:
    """Do what one line asks for."""
    if line == "begin":
        heart.longest = 0.0
        return {}
    if line == "gap":
        return {"gap": heart.longest}
    backend, content = line.split()
    heart.longest = 0.0
    options = {"backend": backend, "content": content, "collectors": ["raw"]}
    dump = gencore.start(directory=directory, **options)
    report = dump.result()
    path = str(report.path_of("raw"))
    return {"core": path, "pause": dump.pause.total, "gap": heart.longest}


def main() -> None:
    """Serve standard input to its end."""
    mebibytes, threads, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    ballast = heap(mebibytes)
    waiting = Waiting(threads - 2)  # the main thread and the heart are two
    heart = Heart()
    print(json.dumps({"ready": len(ballast)}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line.strip(), heart, directory)), flush=True)
    waiting.end()


if __name__ == "__main__":
    main()
